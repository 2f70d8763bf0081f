<?php
// The same site on Symfony's router and request, as Debian packages them.
require '/usr/share/php/Symfony/Component/HttpFoundation/autoload.php';
require '/usr/share/php/Symfony/Component/Routing/autoload.php';
require __DIR__ . '/../php/every.php';

use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\Routing\Exception\ResourceNotFoundException;
use Symfony\Component\Routing\Matcher\UrlMatcher;
use Symfony\Component\Routing\RequestContext;
use Symfony\Component\Routing\Route;
use Symfony\Component\Routing\RouteCollection;

$routes = new RouteCollection();
foreach ([
    ['/admin', 'strict'], ['/admin/{rest}', 'strict'], ['/desk/stock', 'strict'], ['/shop/{item}/keys', 'strict'],
    ['/orders', 'orders'], ['/orders/{order}', 'orders'], ['/heads', 'heads'], ['/things/{id}', 'things'], ['/customers/{customer}', 'customers'],
    ['/{rest}', 'lax'],
] as $number => [$path, $zone]) {
    $routes->add("r$number", new Route($path, ['zone' => $zone], str_contains($path, 'rest') ? ['rest' => '.*'] : []));
}
Request::enableHttpMethodParameterOverride();
$request = Request::createFromGlobals();
$context = (new RequestContext())->fromRequest($request);
try {
    $found = (new UrlMatcher($routes, $context))->matchRequest($request);
} catch (ResourceNotFoundException) {
    $found = ['zone' => 'lax'];
}
place($found['zone'], $found['customer'] ?? '');
if ($found['zone'] === 'orders') {
    echo 'org=', $request->query->all()['org'] ?? '', "\n";
    echo 'org=', $request->get('org'), "\n";
}
if ($found['zone'] === 'things') {
    echo 'method=', $request->getMethod(), "\n";
}
