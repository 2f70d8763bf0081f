<?php
// Prints the request as a PHP application sees it; `/verified` verifies the gateway's assertion with the snippet of
// docs/upstreams.md and prints its claims.
header('Content-Type: application/json');
if (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) === '/verified') {
    require __DIR__ . '/../../../../docs/upstreams/verify.php';
    $cache = tempnam(sys_get_temp_dir(), 'torwart-keys-');
    try {
        $gateway = new Gateway('https://gateway.example.com', $_GET['as'], $_GET['keys'], $cache);
        echo json_encode($gateway->verify($_SERVER['HTTP_X_AUTH_ASSERTION'] ?? null));
    } catch (Refused $refused) {
        http_response_code(401);
        echo json_encode(['refused' => $refused->getMessage()]);
    }
    unlink($cache);
    return;
}
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
