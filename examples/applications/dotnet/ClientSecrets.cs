using System.Net;
using System.Text.Json;
using Microsoft.AspNetCore.WebUtilities;

namespace Shop;

public sealed record Credentials(string Domain, string ClientId, string[] ClientSecrets);

/// <summary>
/// The file that Vault Agent renders from auth0/creds/shop. What it has must be for the
/// domain of the application's own tenant.
/// </summary>
public sealed class ClientSecrets
{
    private static readonly JsonSerializerOptions Names = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    private readonly string _file;
    private readonly string _domain;
    private volatile Credentials? _known; // what the file said when it could be read last
    private volatile string? _worked; // the secret that Auth0 accepted last

    public ClientSecrets(string file, string domain)
    {
        _file = file;
        _domain = domain;
        Read();
    }

    /// <summary>Reads the file each time: Vault Agent replaces it by another.</summary>
    public Credentials Read()
    {
        Credentials? read;
        try
        {
            read = JsonSerializer.Deserialize<Credentials>(File.ReadAllText(_file), Names);
            if (read?.ClientSecrets is not { Length: > 0 })
            {
                throw new JsonException($"{_file}: no client_secrets");
            }
        }
        catch (Exception e) when (_known is not null && e is IOException or UnauthorizedAccessException or JsonException)
        {
            return _known!; // what is known stays
        }
        if (!string.Equals(read.Domain, _domain, StringComparison.OrdinalIgnoreCase))
        {
            throw new InvalidOperationException($"{_file}: the domain {_domain} is expected, but it is for {read.Domain}");
        }
        _known = read;
        return read;
    }

    public IEnumerable<string> InOrder() => Read().ClientSecrets.OrderBy(secret => secret != _worked); // stable

    public void Worked(string secret) => _worked = secret;
}

/// <summary>
/// Sends what has a client_secret with one secret after the other until Auth0 accepts one.
/// Follows no redirect: it would take the secret along.
/// </summary>
public sealed class ClientSecretHandler(ClientSecrets secrets)
    : DelegatingHandler(new SocketsHttpHandler { AllowAutoRedirect = false })
{
    private const int Rounds = 2; // a new secret may reach Auth0 while the others are tried

    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellation)
    {
        if (request.Content is not FormUrlEncodedContent content)
        {
            return await SendOnce(request, cancellation);
        }
        var form = QueryHelpers.ParseQuery(await content.ReadAsStringAsync(cancellation))
            .ToDictionary(field => field.Key, field => field.Value.ToString());
        if (!form.ContainsKey("client_secret"))
        {
            return await SendOnce(request, cancellation);
        }
        HttpResponseMessage? response = null;
        for (var round = 0; round < Rounds; round++)
        {
            foreach (var secret in secrets.InOrder())
            {
                response?.Dispose();
                form["client_secret"] = secret;
                request.Content = new FormUrlEncodedContent(form);
                response = await SendOnce(request, cancellation);
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

    private async Task<HttpResponseMessage> SendOnce(HttpRequestMessage request, CancellationToken cancellation)
    {
        var response = await base.SendAsync(request, cancellation);
        if ((int)response.StatusCode is < 300 or > 399)
        {
            return response;
        }
        response.Dispose();
        throw new HttpRequestException($"{request.RequestUri} answers with a redirect ({(int)response.StatusCode}), which is not followed");
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
