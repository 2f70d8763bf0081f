<?php

// Who asks, according to the gateway's signed assertion. Needs PHP 8.1 with openssl, as every distribution ships it.
//
//     $gateway = new Gateway('https://gateway.example.com', 'crm',
//         'http://10.0.0.5:9901/.well-known/torwart/jwks.json', '/var/lib/crm/torwart-keys.json');
//     $caller = $gateway->verify($_SERVER['HTTP_X_AUTH_ASSERTION'] ?? null);   // throws Refused: answer 401
//
// The last argument is a file that nobody but this application may write: PHP forgets everything between two requests.

declare(strict_types=1);

/** The request did not come through the gateway, or not for this server, or not now. */
final class Refused extends Exception
{
}

final class Gateway
{
    private const TYPE = 'torwart-assertion+jwt';
    private const LEEWAY = 5;    // seconds that the two clocks may differ
    private const FRESH = 300;   // seconds after which the key set is fetched again
    private const STALE = 3600;  // seconds after which a key set is not believed any more, should the gateway not answer
    private const PAUSE = 10;    // seconds between two fetches, whatever key ids requests make up

    public function __construct(
        private string $issuer,
        private string $audience,
        private string $keySetUrl,
        private string $cache,
    ) {
    }

    /** The claims; throws Refused at the slightest doubt. */
    public function verify(?string $assertion): array
    {
        $parts = explode('.', $assertion ?? '');
        if (count($parts) !== 3 || strlen($assertion) > 16384) {
            throw new Refused('no assertion');
        }
        [$header, $payload, $signature] = $parts;
        $fields = self::read($header);
        if (($fields['typ'] ?? null) !== self::TYPE || ($fields['alg'] ?? null) !== 'ES256' || isset($fields['crit'])) {
            throw new Refused('not an assertion');
        }
        $key = $this->key($fields['kid'] ?? null);
        $der = self::der(self::decode($signature));
        if ($key === null || openssl_verify("$header.$payload", $der, $key, OPENSSL_ALGO_SHA256) !== 1) {
            throw new Refused('not signed by the gateway');
        }
        $claims = self::read($payload);
        if (($claims['iss'] ?? null) !== $this->issuer || ($claims['aud'] ?? null) !== $this->audience) {
            throw new Refused('of another gateway, or for another server');
        }
        $issued = $claims['iat'] ?? null;
        $expires = $claims['exp'] ?? null;
        if (!is_int($issued) || !is_int($expires)) {
            throw new Refused('without a time');
        }
        if ($issued - self::LEEWAY > time() || $expires + self::LEEWAY <= time()) {
            throw new Refused('expired, or not yet valid');
        }
        return $claims;
    }

    private function key(mixed $kid): ?OpenSSLAsymmetricKey
    {
        $known = json_decode((string) @file_get_contents($this->cache), true) ?: [];
        $known += ['keys' => [], 'fetched' => 0, 'tried' => 0];
        $now = time();
        $wanted = $now - $known['fetched'] > self::FRESH || !is_string($kid) || !isset($known['keys'][$kid]);
        if ($wanted && $now - $known['tried'] > self::PAUSE) {
            $known['tried'] = $now;
            $context = stream_context_create(['http' => ['timeout' => 2, 'follow_location' => 0]]);
            $answer = @file_get_contents($this->keySetUrl, false, $context, 0, 65536);
            $set = is_string($answer) ? json_decode($answer, true) : null;
            if (is_array($set['keys'] ?? null)) {
                $known['keys'] = array_column($set['keys'], null, 'kid');
                $known['fetched'] = $now;
            }
            $this->remember($known);
        }
        $jwk = is_string($kid) && $now - $known['fetched'] <= self::STALE ? $known['keys'][$kid] ?? null : null;
        return is_array($jwk) ? self::publicKey($jwk) : null;
    }

    /** Written whole, so that a request beside this one never reads half of it. */
    private function remember(array $known): void
    {
        $beside = $this->cache . '.' . bin2hex(random_bytes(8));
        file_put_contents($beside, json_encode($known));
        rename($beside, $this->cache);
    }

    private static function publicKey(array $jwk): ?OpenSSLAsymmetricKey
    {
        $kind = [$jwk['kty'] ?? null, $jwk['crv'] ?? null, $jwk['alg'] ?? null, $jwk['use'] ?? null];
        if ($kind !== ['EC', 'P-256', 'ES256', 'sig']) {
            return null;
        }
        // RFC 5480: the algorithm (id-ecPublicKey, prime256v1), then the uncompressed point.
        $prefix = hex2bin('3059301306072a8648ce3d020106082a8648ce3d030107034200') . "\x04";
        $der = $prefix . self::decode($jwk['x'] ?? '') . self::decode($jwk['y'] ?? '');
        $pem = "-----BEGIN PUBLIC KEY-----\n" . chunk_split(base64_encode($der), 64) . "-----END PUBLIC KEY-----\n";
        return openssl_pkey_get_public($pem) ?: null;
    }

    /** The two numbers of a JWS signature (RFC 7518 section 3.4) in the form that OpenSSL reads. */
    private static function der(string $raw): string
    {
        if (strlen($raw) !== 64) {
            throw new Refused('not signed by the gateway');
        }
        $numbers = '';
        foreach (str_split($raw, 32) as $number) {
            $number = ltrim($number, "\0");
            if ($number === '' || ord($number[0]) > 0x7f) {
                $number = "\0" . $number;
            }
            $numbers .= "\x02" . chr(strlen($number)) . $number;
        }
        return "\x30" . chr(strlen($numbers)) . $numbers;
    }

    private static function decode(string $text): string
    {
        $bytes = preg_match('/^[A-Za-z0-9_-]*$/D', $text) ? base64_decode(strtr($text, '-_', '+/'), true) : false;
        return $bytes === false ? throw new Refused('not base64url') : $bytes;
    }

    private static function read(string $part): array
    {
        $found = json_decode(self::decode($part), true, 32);
        return is_array($found) ? $found : throw new Refused('not an object');
    }
}
