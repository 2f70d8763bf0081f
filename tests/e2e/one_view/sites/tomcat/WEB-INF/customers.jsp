<%@ page contentType="text/plain;charset=UTF-8" trimDirectiveWhitespaces="true" session="false" %>
<%@ include file="every.jspf" %>
<%
  String rest = request.getPathInfo();
  boolean one = rest != null && rest.matches("/[^/]+");
  out.println(one ? "zone=customers" : "zone=lax");
  if (one) out.println("customer=" + rest.substring(1));
%>
