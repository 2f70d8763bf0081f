// Who asks, according to the gateway's signed assertion. Package: Microsoft.IdentityModel.Protocols.OpenIdConnect (8 or
// later). One instance for the whole application, as a singleton.
//
//     var gateway = new Gateway("https://gateway.example.com", "crm",
//         "http://10.0.0.5:9901/.well-known/torwart/jwks.json");
//     var caller = await gateway.Verify(request.Headers["X-Auth-Assertion"]);   // null: answer 401

using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Protocols;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

public sealed class Gateway
{
    private readonly JsonWebTokenHandler handler = new() { MapInboundClaims = false, MaximumTokenSizeInBytes = 16384 };
    private readonly TokenValidationParameters rules;
    private readonly ConfigurationManager<OpenIdConnectConfiguration> keySet;

    public Gateway(string issuer, string audience, string keySetUrl)
    {
        keySet = new(keySetUrl, new KeySetRetriever(), new HttpDocumentRetriever { RequireHttps = false })
        {
            AutomaticRefreshInterval = TimeSpan.FromMinutes(5),
            // Fetched again for an unknown key id, at most so often.
            RefreshInterval = TimeSpan.FromSeconds(10),
        };
        rules = new TokenValidationParameters
        {
            ValidAlgorithms = [SecurityAlgorithms.EcdsaSha256],
            ValidTypes = ["torwart-assertion+jwt"],
            ValidIssuer = issuer,
            ValidAudience = audience,
            RequireSignedTokens = true,
            RequireExpirationTime = true,
            ClockSkew = TimeSpan.FromSeconds(5),
            ConfigurationManager = keySet,
        };
    }

    /// <summary>The claims; null at the slightest doubt.</summary>
    public async Task<IDictionary<string, object>?> Verify(string? assertion)
    {
        if (string.IsNullOrEmpty(assertion))
        {
            return null;
        }
        var result = await handler.ValidateTokenAsync(assertion, rules);
        if (!result.IsValid && result.Exception is SecurityTokenSignatureKeyNotFoundException)
        {
            keySet.RequestRefresh();
            result = await handler.ValidateTokenAsync(assertion, rules);
        }
        return result.IsValid ? result.Claims : null;
    }

    private sealed class KeySetRetriever : IConfigurationRetriever<OpenIdConnectConfiguration>
    {
        public async Task<OpenIdConnectConfiguration> GetConfigurationAsync(
            string address, IDocumentRetriever retriever, CancellationToken cancel)
        {
            var configuration = new OpenIdConnectConfiguration();
            foreach (var key in new JsonWebKeySet(await retriever.GetDocumentAsync(address, cancel)).GetSigningKeys())
            {
                configuration.SigningKeys.Add(key);
            }
            return configuration;
        }
    }
}
