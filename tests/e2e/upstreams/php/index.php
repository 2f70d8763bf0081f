<?php
// Prints the request as a PHP application sees it.
header('Content-Type: application/json');
$body = file_get_contents('php://input');
echo json_encode([
    'stack' => 'php',
    'method' => $_SERVER['REQUEST_METHOD'],
    'uri' => $_SERVER['REQUEST_URI'],
    'query' => $_SERVER['QUERY_STRING'],
    'protocol' => $_SERVER['SERVER_PROTOCOL'],
    'headers' => array_filter($_SERVER, fn($name) => str_starts_with($name, 'HTTP_'), ARRAY_FILTER_USE_KEY),
    'body_bytes' => strlen($body),
    'body_sha256' => hash('sha256', $body),
], JSON_UNESCAPED_SLASHES);
