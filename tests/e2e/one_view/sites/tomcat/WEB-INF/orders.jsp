<%@ page contentType="text/plain;charset=UTF-8" trimDirectiveWhitespaces="true" session="false" %>
<%@ include file="every.jspf" %>
<%
  String rest = request.getPathInfo();
  if (rest != null && !rest.matches("/[^/]+")) {
    out.println("zone=lax");
    return;
  }
  out.println("zone=orders");
  out.println("org=" + request.getParameter("org"));
  String[] values = request.getParameterValues("org");
  for (String value : values == null ? new String[0] : values) out.println("org=" + value);
%>
