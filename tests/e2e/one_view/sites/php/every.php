<?php
// What every answer says; the scripts that include it say the rest.
header('Content-Type: text/plain;charset=UTF-8');
header_remove('X-Powered-By');
echo "one-view\n";
echo 'vhost=', str_starts_with(strtolower($_SERVER['SERVER_NAME'] ?? ''), 'admin.') || str_starts_with(strtolower($_SERVER['HTTP_HOST'] ?? ''), 'admin.') ? 'admin' : 'other', "\n";
foreach (getallheaders() as $name => $value) {
    if (strcasecmp(strtr($name, '_.', '--'), 'X-Auth-Subject') === 0) {
        echo "subject=$value\n";
    }
}
echo 'subject=', $_SERVER['HTTP_X_AUTH_SUBJECT'] ?? '', "\n";

/** The lines of one place, whichever script or router found it. */
function place(string $zone, string $rest): void
{
    echo "zone=$zone\n";
    if ($zone === 'orders') {
        foreach ([$_GET['org'] ?? null, $_REQUEST['org'] ?? null] as $value) {
            foreach (is_array($value) ? $value : [$value] as $one) {
                echo 'org=', is_array($one) ? 'nested' : $one, "\n";
            }
        }
    } elseif ($zone === 'heads') {
        echo 'xorg=', $_SERVER['HTTP_X_ORG'] ?? '', "\n";
    } elseif ($zone === 'customers') {
        echo 'customer=', $rest, "\n";
    }
}
