using System.Net;
using System.Text.Json;
using Microsoft.AspNetCore.WebUtilities;

namespace Shop;

public sealed record Credentials(string Domain, string ClientId, string[] ClientSecrets);

/// <summary>The file that Vault Agent renders from auth0/creds/shop.</summary>
public sealed class ClientSecrets
{
    private static readonly JsonSerializerOptions Names = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    private readonly string _file;
    private volatile Credentials? _known; // what the file said when it could be read last
    private volatile string? _worked; // the secret that Auth0 accepted last

    public ClientSecrets(string file)
    {
        _file = file;
        Read();
    }

    /// <summary>Reads the file each time: Vault Agent replaces it by another.</summary>
    public Credentials Read()
    {
        try
        {
            var read = JsonSerializer.Deserialize<Credentials>(File.ReadAllText(_file), Names);
            if (read?.ClientSecrets is not { Length: > 0 })
            {
                throw new JsonException($"{_file}: no client_secrets");
            }
            _known = read;
        }
        catch (Exception e) when (_known is not null && e is IOException or UnauthorizedAccessException or JsonException)
        {
            // What is known stays.
        }
        return _known!;
    }

    public IEnumerable<string> InOrder() => Read().ClientSecrets.OrderBy(secret => secret != _worked); // stable

    public void Worked(string secret) => _worked = secret;
}

/// <summary>Sends what has a client_secret with one secret after the other until Auth0 accepts one.</summary>
public sealed class ClientSecretHandler(ClientSecrets secrets) : DelegatingHandler(new SocketsHttpHandler())
{
    private const int Rounds = 2; // a new secret may reach Auth0 while the others are tried

    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellation)
    {
        if (request.Content is not FormUrlEncodedContent content)
        {
            return await base.SendAsync(request, cancellation);
        }
        var form = QueryHelpers.ParseQuery(await content.ReadAsStringAsync(cancellation))
            .ToDictionary(field => field.Key, field => field.Value.ToString());
        if (!form.ContainsKey("client_secret"))
        {
            return await base.SendAsync(request, cancellation);
        }
        HttpResponseMessage? response = null;
        for (var round = 0; round < Rounds; round++)
        {
            foreach (var secret in secrets.InOrder())
            {
                response?.Dispose();
                form["client_secret"] = secret;
                request.Content = new FormUrlEncodedContent(form);
                response = await base.SendAsync(request, cancellation);
                var error = await OAuthError(response, cancellation);
                if (error is "invalid_client" or "access_denied") // of the secret: nothing else is a reason to try another
                {
                    continue;
                }
                if (response.IsSuccessStatusCode || error == "invalid_grant")
                {
                    secrets.Worked(secret);
                }
                return response;
            }
        }
        return response!;
    }

    // Why Auth0 has refused the request, as far as it says so.
    private static async Task<string?> OAuthError(HttpResponseMessage response, CancellationToken cancellation)
    {
        if (response.StatusCode is not (HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden))
        {
            return null;
        }
        try
        {
            using var answer = JsonDocument.Parse(await response.Content.ReadAsStringAsync(cancellation)); // can be read again
            return answer.RootElement.ValueKind == JsonValueKind.Object
                && answer.RootElement.TryGetProperty("error", out var error)
                && error.ValueKind == JsonValueKind.String ? error.GetString() : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
