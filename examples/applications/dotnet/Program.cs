using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Authentication.OpenIdConnect;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Shop;

var builder = WebApplication.CreateBuilder(args);
var domain = builder.Configuration["Auth0:Domain"]!; // such as example.eu.auth0.com: not what the file says
var secrets = new ClientSecrets(builder.Configuration["Auth0:Credentials"]!, domain); // such as /run/shop/auth0.json
var credentials = secrets.Read();

builder.Services
    .AddAuthentication(options =>
    {
        options.DefaultScheme = CookieAuthenticationDefaults.AuthenticationScheme;
        options.DefaultChallengeScheme = OpenIdConnectDefaults.AuthenticationScheme;
    })
    .AddCookie()
    .AddOpenIdConnect(options =>
    {
        options.Authority = $"https://{domain}/";
        options.ClientId = credentials.ClientId;
        options.ClientSecret = credentials.ClientSecrets[0]; // must be set; the handler puts in the right one
        options.BackchannelHttpHandler = new ClientSecretHandler(secrets);
        options.ResponseType = OpenIdConnectResponseType.Code;
        options.CallbackPath = "/callback";
        options.Scope.Add("offline_access");
        options.TokenValidationParameters.NameClaimType = "name"; // or User.Identity.Name is null
        options.SaveTokens = true;
    });
// For requests of other grants that the application sends itself, such as a refresh.
builder.Services.AddHttpClient("auth0").ConfigurePrimaryHttpMessageHandler(() => new ClientSecretHandler(secrets));
builder.Services.AddAuthorization();

var app = builder.Build();
app.UseAuthentication();
app.UseAuthorization();
app.MapGet("/", (HttpContext context) => context.User.Identity?.Name).RequireAuthorization();
app.Run();
