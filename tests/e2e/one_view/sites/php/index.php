<?php
// A front controller of the plain kind: Apache sends here what is no file, and the path is decoded by hand.
require __DIR__ . '/every.php';
$path = rawurldecode(strtok($_SERVER['REQUEST_URI'], '?'));
if (preg_match('~^/(admin(/.*)?|desk/stock|shop/[^/]+/keys)$~Ds', $path)) {
    place('strict', '');
} elseif (preg_match('~^/(orders$|heads$|orders/|things/|customers/)([^/]*)$~D', $path, $found)) {
    $zone = $found[2] === '' && str_ends_with($found[1], '/') ? 'lax' : rtrim($found[1], '/');
    place($zone, $found[2]);
    if ($zone === 'things') {
        $method = $_SERVER['HTTP_X_HTTP_METHOD_OVERRIDE'] ?? $_GET['_method'] ?? $_SERVER['REQUEST_METHOD'];
        echo 'method=', is_array($method) ? 'nested' : strtoupper($method), "\n";
    }
} else {
    place('lax', '');
}
