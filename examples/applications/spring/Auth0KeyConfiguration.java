package com.example.shop;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.security.oauth2.client.endpoint.AbstractOAuth2AuthorizationGrantRequest;
import org.springframework.security.oauth2.client.endpoint.AbstractRestClientOAuth2AccessTokenResponseClient;
import org.springframework.security.oauth2.client.endpoint.NimbusJwtClientAuthenticationParametersConverter;
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

/** In place of Auth0Configuration, for an application that authenticates by private_key_jwt. */
@Configuration
class Auth0KeyConfiguration {

    private final ClientKey key;
    private final String issuer;

    Auth0KeyConfiguration(
            @Value("${auth0.credentials}") String file, // such as /run/shop/auth0.json
            @Value("${auth0.domain}") String domain) { // such as example.eu.auth0.com: not what the file says
        key = new ClientKey(Path.of(file), domain);
        issuer = "https://" + domain + "/";
    }

    @Bean
    ClientRegistrationRepository clientRegistrations() {
        ClientRegistration users = ClientRegistrations.fromIssuerLocation(issuer)
                .registrationId("auth0")
                .clientId((String) key.credentials().get("client_id"))
                .clientAuthenticationMethod(ClientAuthenticationMethod.PRIVATE_KEY_JWT)
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
    OAuth2AccessTokenResponseClient<OAuth2AuthorizationCodeGrantRequest> authorizationCode() {
        return withAssertions(new RestClientAuthorizationCodeTokenResponseClient());
    }

    @Bean
    OAuth2AccessTokenResponseClient<OAuth2RefreshTokenGrantRequest> refreshToken() {
        return withAssertions(new RestClientRefreshTokenTokenResponseClient());
    }

    @Bean
    OAuth2AccessTokenResponseClient<OAuth2ClientCredentialsGrantRequest> clientCredentials(
            @Value("${auth0.audience}") String audience) { // such as https://api.example.com/
        var endpoint = new RestClientClientCredentialsTokenResponseClient();
        endpoint.addParametersConverter(request -> new LinkedMultiValueMap<>(Map.of("audience", List.of(audience))));
        return withAssertions(endpoint);
    }

    /** Each request takes an assertion that is signed with the key in the file. */
    private <T extends AbstractOAuth2AuthorizationGrantRequest> OAuth2AccessTokenResponseClient<T> withAssertions(
            AbstractRestClientOAuth2AccessTokenResponseClient<T> endpoint) {
        var assertions = new NimbusJwtClientAuthenticationParametersConverter<T>(client -> key.key());
        assertions.setJwtClientAssertionCustomizer(context -> context.getClaims().audience(List.of(issuer)));
        endpoint.addParametersConverter(assertions);
        endpoint.setRestClient(TokenEndpoint.withoutRedirects());
        return endpoint;
    }
}
