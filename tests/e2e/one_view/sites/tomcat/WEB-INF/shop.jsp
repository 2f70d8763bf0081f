<%@ page contentType="text/plain;charset=UTF-8" trimDirectiveWhitespaces="true" session="false" %>
<%@ include file="every.jspf" %>
<%
  String rest = request.getPathInfo();
  out.println(rest != null && rest.matches("/[^/]+/keys") ? "zone=strict" : "zone=lax");
%>
