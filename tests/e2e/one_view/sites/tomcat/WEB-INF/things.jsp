<%@ page contentType="text/plain;charset=UTF-8" trimDirectiveWhitespaces="true" session="false" %>
<%@ include file="every.jspf" %>
zone=things
<%-- As Spring's HiddenHttpMethodFilter does it, except that it asks for POST. --%>
<%
  String override = request.getParameter("_method");
  out.println("method=" + (override == null ? request.getMethod() : override.toUpperCase(java.util.Locale.ENGLISH)));
%>
