package com.example.shop;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import org.springframework.boot.json.JsonParserFactory;
import org.springframework.security.oauth2.core.OAuth2AuthorizationException;
import org.springframework.web.client.RestClientResponseException;

/**
 * The file that Vault Agent renders from auth0/creds/shop. What it has must be for the
 * domain of the application's own tenant.
 */
final class ClientSecrets {

    private static final int ROUNDS = 2; // a new secret may reach Auth0 while the others are tried
    // Of the secret: nothing else is a reason to try another.
    private static final Set<String> REFUSALS = Set.of("invalid_client", "access_denied");

    private final Path file;
    private final String domain;
    private volatile Map<String, Object> known; // what the file said when it could be read last
    private volatile String worked; // the secret that Auth0 accepted last

    ClientSecrets(Path file, String domain) {
        this.file = file;
        this.domain = domain;
        credentials();
    }

    /** Reads the file each time: Vault Agent replaces it by another. */
    Map<String, Object> credentials() {
        Map<String, Object> read;
        try {
            read = JsonParserFactory.getJsonParser().parseMap(Files.readString(file));
            if (!(read.get("client_secrets") instanceof List<?> secrets) || secrets.isEmpty()) {
                throw new IllegalArgumentException("no client_secrets");
            }
        } catch (IOException | IllegalArgumentException e) {
            if (known == null) {
                throw new IllegalStateException(file.toString(), e);
            }
            return known;
        }
        if (!domain.equalsIgnoreCase(String.valueOf(read.get("domain")))) {
            throw new IllegalStateException(file + ": the domain " + domain + " is expected, but it is for " + read.get("domain"));
        }
        known = read;
        return read;
    }

    /** Makes the attempt with one secret after the other until Auth0 accepts one. */
    <T> T login(Function<String, T> attempt) {
        OAuth2AuthorizationException refusal = null;
        for (int round = 0; round < ROUNDS; round++) {
            for (String secret : inOrder()) {
                try {
                    T answer = attempt.apply(secret);
                    worked = secret;
                    return answer;
                } catch (OAuth2AuthorizationException e) {
                    String error = oauthError(e);
                    if (error.equals("invalid_grant")) {
                        worked = secret;
                    }
                    if (!REFUSALS.contains(error)) {
                        throw e;
                    }
                    refusal = e;
                }
            }
        }
        throw refusal;
    }

    private List<String> inOrder() {
        List<String> secrets = new ArrayList<>();
        for (Object secret : (List<?>) credentials().get("client_secrets")) {
            secrets.add((String) secret);
        }
        String first = worked;
        if (secrets.remove(first)) {
            secrets.add(0, first);
        }
        return secrets;
    }

    /**
     * Why Auth0 has refused the request, as far as it says so. Spring Security reads
     * the error of an answer with status 400 only; Auth0's have 401 or 403.
     */
    private static String oauthError(OAuth2AuthorizationException e) {
        if (!(e.getCause() instanceof RestClientResponseException answer)) {
            return e.getError().getErrorCode();
        }
        int status = answer.getStatusCode().value();
        if (status != 401 && status != 403) {
            return "";
        }
        try {
            return String.valueOf(JsonParserFactory.getJsonParser().parseMap(answer.getResponseBodyAsString()).get("error"));
        } catch (IllegalArgumentException notJson) {
            return "";
        }
    }
}
