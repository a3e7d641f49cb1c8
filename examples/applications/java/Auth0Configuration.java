package com.example.shop;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
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
import org.springframework.security.oauth2.core.ClientAuthenticationMethod;

@Configuration
class Auth0Configuration {

    @Bean
    ClientSecrets clientSecrets(@Value("${auth0.credentials}") String file) { // such as /run/shop/auth0.json
        return new ClientSecrets(Path.of(file));
    }

    @Bean
    ClientRegistrationRepository clientRegistrations(ClientSecrets secrets) {
        Map<String, Object> credentials = secrets.credentials();
        return new InMemoryClientRegistrationRepository(
                ClientRegistrations.fromIssuerLocation("https://" + credentials.get("domain") + "/")
                        .registrationId("auth0")
                        .clientId((String) credentials.get("client_id"))
                        .clientSecret((String) ((List<?>) credentials.get("client_secrets")).get(0)) // replaced in each attempt
                        .clientAuthenticationMethod(ClientAuthenticationMethod.CLIENT_SECRET_POST)
                        .scope("openid", "profile", "offline_access")
                        .build());
    }

    @Bean
    OAuth2AccessTokenResponseClient<OAuth2AuthorizationCodeGrantRequest> authorizationCode(ClientSecrets secrets) {
        return withEach(secrets, new RestClientAuthorizationCodeTokenResponseClient(),
                (request, client) -> new OAuth2AuthorizationCodeGrantRequest(client, request.getAuthorizationExchange()));
    }

    @Bean
    OAuth2AccessTokenResponseClient<OAuth2RefreshTokenGrantRequest> refreshToken(ClientSecrets secrets) {
        return withEach(secrets, new RestClientRefreshTokenTokenResponseClient(),
                (request, client) -> new OAuth2RefreshTokenGrantRequest(
                        client, request.getAccessToken(), request.getRefreshToken(), request.getScopes()));
    }

    @Bean
    OAuth2AccessTokenResponseClient<OAuth2ClientCredentialsGrantRequest> clientCredentials(ClientSecrets secrets) {
        return withEach(secrets, new RestClientClientCredentialsTokenResponseClient(),
                (request, client) -> new OAuth2ClientCredentialsGrantRequest(client));
    }

    private static <T extends AbstractOAuth2AuthorizationGrantRequest> OAuth2AccessTokenResponseClient<T> withEach(
            ClientSecrets secrets, OAuth2AccessTokenResponseClient<T> endpoint, BiFunction<T, ClientRegistration, T> copy) {
        return request -> secrets.login(secret -> endpoint.getTokenResponse(copy.apply(request,
                ClientRegistration.withClientRegistration(request.getClientRegistration()).clientSecret(secret).build())));
    }
}
