package com.example.shop;

import java.util.Map;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.core.annotation.AuthenticationPrincipal;
import org.springframework.security.oauth2.client.OAuth2AuthorizedClient;
import org.springframework.security.oauth2.client.annotation.RegisteredOAuth2AuthorizedClient;
import org.springframework.security.oauth2.core.oidc.user.OidcUser;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.servlet.view.RedirectView;

@SpringBootApplication
@RestController
class Shop {

    public static void main(String[] args) {
        SpringApplication.run(Shop.class, args);
    }

    @Bean
    SecurityFilterChain security(HttpSecurity http) throws Exception {
        return http
                .authorizeHttpRequests(requests -> requests
                        .requestMatchers("/login", "/api").permitAll()
                        .anyRequest().authenticated())
                .oauth2Login(login -> login
                        .loginPage("/login")
                        .redirectionEndpoint(endpoint -> endpoint.baseUri("/callback"))
                        .defaultSuccessUrl("/", true)
                        // Not back to the login page: that would try again and again.
                        .failureHandler((request, response, failure) -> response.sendError(502)))
                .build();
    }

    @GetMapping("/login")
    RedirectView login() {
        return new RedirectView("/oauth2/authorization/auth0");
    }

    @GetMapping("/")
    Map<String, String> home(@AuthenticationPrincipal OidcUser user) {
        return Map.of("name", user.getFullName());
    }

    /** Spring refreshes the user's token if it is about to expire. */
    @GetMapping("/refresh")
    Map<String, Object> refresh(@RegisteredOAuth2AuthorizedClient("auth0") OAuth2AuthorizedClient client) {
        return Map.of("expires_at", client.getAccessToken().getExpiresAt());
    }

    /** A token of the application's own, by client credentials; it is kept until it is about to expire. */
    @GetMapping("/api")
    Map<String, Object> api(@RegisteredOAuth2AuthorizedClient("api") OAuth2AuthorizedClient client) {
        return Map.of("expires_at", client.getAccessToken().getExpiresAt());
    }
}
