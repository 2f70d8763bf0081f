import java.io.IOException;
import java.io.InputStream;
import java.math.BigInteger;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.ECParameterSpec;
import java.security.spec.ECPoint;
import java.security.spec.ECPublicKeySpec;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Who asks, according to the gateway's signed assertion. Java 17, no library; safe to share between threads.
 *
 * <pre>
 * var gateway = new Gateway("https://gateway.example.com", "crm", "http://10.0.0.5:9901/.well-known/torwart/jwks.json");
 * var caller = gateway.verify(request.getHeader("X-Auth-Assertion"));   // throws Refused: answer 401
 * </pre>
 */
public final class Gateway {
    private static final String TYPE = "torwart-assertion+jwt";
    private static final long LEEWAY = 5; // seconds that the two clocks may differ
    private static final long FRESH = 300; // seconds after which the key set is fetched again
    private static final long STALE = 3600; // seconds after which a key set is not believed any more
    private static final long PAUSE = 10; // seconds between two fetches, whatever key ids requests make up

    private final String issuer;
    private final String audience;
    private final URI keySet;
    private final HttpClient client = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(2)).build();
    private Map<String, PublicKey> keys = Map.of();
    private long fetched = Long.MIN_VALUE / 2;
    private long tried = Long.MIN_VALUE / 2;

    /** The request did not come through the gateway, or not for this server, or not now. */
    public static final class Refused extends Exception {
        private static final long serialVersionUID = 1;

        Refused(String why) {
            super(why);
        }
    }

    public Gateway(String issuer, String audience, String keySetUrl) {
        this.issuer = issuer;
        this.audience = audience;
        this.keySet = URI.create(keySetUrl);
    }

    /** The claims: strings, longs, booleans, lists. */
    public Map<String, Object> verify(String assertion) throws Refused {
        String[] parts = assertion == null || assertion.length() > 16384 ? new String[0] : assertion.split("\\.", -1);
        if (parts.length != 3) {
            throw new Refused("no assertion");
        }
        Map<String, Object> header = read(parts[0]);
        if (!TYPE.equals(header.get("typ")) || !"ES256".equals(header.get("alg")) || header.containsKey("crit")) {
            throw new Refused("not an assertion");
        }
        PublicKey key = key(header.get("kid"));
        byte[] signature = decode(parts[2]);
        if (key == null || signature.length != 64 || !signed(key, parts[0] + "." + parts[1], signature)) {
            throw new Refused("not signed by the gateway");
        }
        Map<String, Object> claims = read(parts[1]);
        if (!issuer.equals(claims.get("iss")) || !audience.equals(claims.get("aud"))) {
            throw new Refused("of another gateway, or for another server");
        }
        long now = System.currentTimeMillis() / 1000;
        if (!(claims.get("iat") instanceof Long issued) || !(claims.get("exp") instanceof Long expires)) {
            throw new Refused("without a time");
        }
        if (issued - LEEWAY > now || expires + LEEWAY <= now) {
            throw new Refused("expired, or not yet valid");
        }
        return claims;
    }

    private static boolean signed(PublicKey key, String message, byte[] signature) {
        try {
            // JWS writes the two numbers side by side (RFC 7518 section 3.4), which this algorithm reads.
            Signature verifier = Signature.getInstance("SHA256withECDSAinP1363Format");
            verifier.initVerify(key);
            verifier.update(message.getBytes(StandardCharsets.US_ASCII));
            return verifier.verify(signature);
        } catch (GeneralSecurityException refused) {
            return false;
        }
    }

    private synchronized PublicKey key(Object kid) {
        long now = System.nanoTime() / 1_000_000_000;
        if ((now - fetched > FRESH || !keys.containsKey(kid)) && now - tried > PAUSE) {
            tried = now;
            try {
                keys = fetch();
                fetched = now;
            } catch (IOException | GeneralSecurityException | Refused | RuntimeException unavailable) {
                // The keys at hand are good for a while.
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
        }
        return kid instanceof String && now - fetched <= STALE ? keys.get(kid) : null;
    }

    private Map<String, PublicKey> fetch() throws IOException, InterruptedException, GeneralSecurityException, Refused {
        HttpRequest request = HttpRequest.newBuilder(keySet).timeout(Duration.ofSeconds(2)).build();
        HttpResponse<InputStream> answer = client.send(request, HttpResponse.BodyHandlers.ofInputStream());
        String text;
        try (InputStream body = answer.body()) {
            text = new String(body.readNBytes(65536), StandardCharsets.UTF_8);
        }
        if (answer.statusCode() != 200 || !(Json.read(text).get("keys") instanceof List<?> set)) {
            throw new IOException("no key set");
        }
        Map<String, PublicKey> found = new HashMap<>();
        for (Object one : set) {
            Map<?, ?> jwk = (Map<?, ?>) one;
            List<?> kind = List.of(jwk.get("kty"), jwk.get("crv"), jwk.get("alg"), jwk.get("use"));
            if (kind.equals(List.of("EC", "P-256", "ES256", "sig"))) {
                found.put((String) jwk.get("kid"), publicKey(jwk));
            }
        }
        return found;
    }

    private static PublicKey publicKey(Map<?, ?> jwk) throws GeneralSecurityException, Refused {
        AlgorithmParameters curve = AlgorithmParameters.getInstance("EC");
        curve.init(new ECGenParameterSpec("secp256r1"));
        BigInteger x = new BigInteger(1, decode((String) jwk.get("x")));
        BigInteger y = new BigInteger(1, decode((String) jwk.get("y")));
        ECParameterSpec parameters = curve.getParameterSpec(ECParameterSpec.class);
        return KeyFactory.getInstance("EC").generatePublic(new ECPublicKeySpec(new ECPoint(x, y), parameters));
    }

    private static byte[] decode(String text) throws Refused {
        try {
            return Base64.getUrlDecoder().decode(text);
        } catch (IllegalArgumentException malformed) {
            throw new Refused("not base64url");
        }
    }

    private static Map<String, Object> read(String part) throws Refused {
        return Json.read(new String(decode(part), StandardCharsets.UTF_8));
    }

    /** Objects, lists, strings, whole numbers, booleans: Java has no JSON of its own. Use your library's instead. */
    private static final class Json {
        private final String text;
        private int at;

        private Json(String text) {
            this.text = text;
        }

        static Map<String, Object> read(String text) throws Refused {
            try {
                Json json = new Json(text.strip());
                if (json.value(8) instanceof Map<?, ?> object && json.at == json.text.length()) {
                    Map<String, Object> members = new LinkedHashMap<>();
                    object.forEach((name, value) -> members.put((String) name, value));
                    return members;
                }
            } catch (RuntimeException malformed) {
                // Told below.
            }
            throw new Refused("not a JSON object");
        }

        private char next() {
            while (" \t\r\n".indexOf(text.charAt(at)) >= 0) {
                at++;
            }
            return text.charAt(at++);
        }

        private Object value(int depth) {
            char first = next();
            if (depth == 0) {
                throw new IllegalArgumentException();
            }
            if (first == '{') {
                Map<String, Object> object = new LinkedHashMap<>();
                for (char mark = next(); mark != '}'; mark = next()) {
                    char quote = mark == ',' && !object.isEmpty() ? next() : mark;
                    String name = string(quote);
                    if (next() != ':' || object.containsKey(name)) {
                        throw new IllegalArgumentException();
                    }
                    object.put(name, value(depth - 1));
                }
                return object;
            }
            if (first == '[') {
                List<Object> list = new ArrayList<>();
                for (char mark = next(); mark != ']'; mark = next()) {
                    at -= mark == ',' && !list.isEmpty() ? 0 : 1;
                    list.add(value(depth - 1));
                }
                return list;
            }
            if (first == '"') {
                return string(first);
            }
            int begin = at - 1;
            while (at < text.length() && (Character.isLetterOrDigit(text.charAt(at)) || text.charAt(at) == '-')) {
                at++;
            }
            String word = text.substring(begin, at);
            return switch (word) {
                case "true" -> true;
                case "false" -> false;
                default -> Long.valueOf(word);
            };
        }

        private String string(char quote) {
            StringBuilder out = new StringBuilder();
            if (quote != '"') {
                throw new IllegalArgumentException();
            }
            for (char letter = text.charAt(at++); letter != '"'; letter = text.charAt(at++)) {
                if (letter != '\\') {
                    out.append(letter);
                    continue;
                }
                char escaped = text.charAt(at++);
                int plain = "\"\\/bfnrt".indexOf(escaped);
                if (plain >= 0) {
                    out.append("\"\\/\b\f\n\r\t".charAt(plain));
                } else {
                    out.append((char) Integer.parseInt(text.substring(at, at += 4), 16));
                }
            }
            return out.toString();
        }
    }
}
