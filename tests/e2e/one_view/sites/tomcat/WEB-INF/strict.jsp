<%@ page contentType="text/plain;charset=UTF-8" trimDirectiveWhitespaces="true" session="false" %>
<%@ include file="every.jspf" %>
zone=strict
