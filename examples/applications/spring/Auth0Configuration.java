package com.example.shop;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiFunction;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.security.oauth2.client.endpoint.AbstractOAuth2AuthorizationGrantRequest;
import org.springframework.security.oauth2.client.endpoint.OAuth2AccessTokenResponseClient;
import org.springframework.security.oauth2.client.endpoint.OAuth2AuthorizationCodeGrantRequest;
import org.springframework.security.oauth2.client.endpoint.OAuth2ClientCredentialsGrantRequest;
import org.springframework.security.oauth2.client.endpoint.OAuth2RefreshTokenGrantRequest;
import org.springframework.security.oauth2.client.endpoint.RestClientAuthorizationCodeTokenResponseClient;
import org.springframework.security.oauth2.client.endpoint.RestClientClientCredentialsTokenResponseClient;
import org.springframework.security.oauth2.client.endpoint.RestClientRefreshTokenTokenResponseClient;
import org.springframework.security.oauth2.client.registration.ClientRegistration;
import org.springframework.security.oauth2.client.registration.ClientRegistrationRepository;
import org.springframework.security.oauth2.client.registration.ClientRegistrations;
import org.springframework.security.oauth2.client.registration.InMemoryClientRegistrationRepository;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.core.ClientAuthenticationMethod;
import org.springframework.util.LinkedMultiValueMap;

@Configuration
class Auth0Configuration {

    @Bean
    ClientSecrets clientSecrets(
            @Value("${auth0.credentials}") String file, // such as /run/shop/auth0.json
            @Value("${auth0.domain}") String domain) { // such as example.eu.auth0.com: not what the file says
        return new ClientSecrets(Path.of(file), domain);
    }

    @Bean
    ClientRegistrationRepository clientRegistrations(ClientSecrets secrets, @Value("${auth0.domain}") String domain) {
        Map<String, Object> credentials = secrets.credentials();
        ClientRegistration users = ClientRegistrations.fromIssuerLocation("https://" + domain + "/")
                .registrationId("auth0")
                .clientId((String) credentials.get("client_id"))
                .clientSecret((String) ((List<?>) credentials.get("client_secrets")).get(0)) // replaced in each attempt
                .clientAuthenticationMethod(ClientAuthenticationMethod.CLIENT_SECRET_POST)
                .redirectUri("{baseUrl}/callback")
                .scope("openid", "profile", "offline_access")
                .build();
        ClientRegistration api = ClientRegistration.withClientRegistration(users)
                .registrationId("api") // tokens of the application's own
                .authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS)
                .scope(Set.of())
                .build();
        return new InMemoryClientRegistrationRepository(users, api);
    }

    @Bean
    OAuth2AccessTokenResponseClient<OAuth2AuthorizationCodeGrantRequest> authorizationCode(ClientSecrets secrets) {
        var endpoint = new RestClientAuthorizationCodeTokenResponseClient();
        endpoint.setRestClient(TokenEndpoint.withoutRedirects());
        return withEach(secrets, endpoint,
                (request, client) -> new OAuth2AuthorizationCodeGrantRequest(client, request.getAuthorizationExchange()));
    }

    @Bean
    OAuth2AccessTokenResponseClient<OAuth2RefreshTokenGrantRequest> refreshToken(ClientSecrets secrets) {
        var endpoint = new RestClientRefreshTokenTokenResponseClient();
        endpoint.setRestClient(TokenEndpoint.withoutRedirects());
        return withEach(secrets, endpoint,
                (request, client) -> new OAuth2RefreshTokenGrantRequest(
                        client, request.getAccessToken(), request.getRefreshToken(), request.getScopes()));
    }

    @Bean
    OAuth2AccessTokenResponseClient<OAuth2ClientCredentialsGrantRequest> clientCredentials(
            ClientSecrets secrets, @Value("${auth0.audience}") String audience) { // such as https://api.example.com/
        var endpoint = new RestClientClientCredentialsTokenResponseClient();
        endpoint.addParametersConverter(request -> new LinkedMultiValueMap<>(Map.of("audience", List.of(audience))));
        endpoint.setRestClient(TokenEndpoint.withoutRedirects());
        return withEach(secrets, endpoint,
                (request, client) -> new OAuth2ClientCredentialsGrantRequest(client));
    }

    private static <T extends AbstractOAuth2AuthorizationGrantRequest> OAuth2AccessTokenResponseClient<T> withEach(
            ClientSecrets secrets, OAuth2AccessTokenResponseClient<T> endpoint, BiFunction<T, ClientRegistration, T> copy) {
        return request -> secrets.login(secret -> endpoint.getTokenResponse(copy.apply(request,
                ClientRegistration.withClientRegistration(request.getClientRegistration()).clientSecret(secret).build())));
    }
}
