<%@ page contentType="text/plain;charset=UTF-8" trimDirectiveWhitespaces="true" session="false" %>
<%@ include file="every.jspf" %>
zone=heads
<%
  out.println("xorg=" + request.getHeader("X-Org"));
  for (String value : java.util.Collections.list(request.getHeaders("X-Org"))) out.println("xorg=" + value);
%>
