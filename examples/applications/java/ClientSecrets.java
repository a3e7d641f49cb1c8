package com.example.shop;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * The file that Vault Agent renders from auth0/creds/shop, and requests with what it has.
 * That must be for the domain of the application's own tenant.
 */
final class ClientSecrets {

    private static final int ROUNDS = 2; // a new secret may reach Auth0 while the others are tried
    // Of the secret: nothing else is a reason to try another.
    private static final Set<String> REFUSALS = Set.of("invalid_client", "access_denied");
    private static final Duration PATIENCE = Duration.ofSeconds(10);
    private static final ObjectMapper JSON = new ObjectMapper();

    private final HttpClient http = HttpClient.newBuilder()
            .followRedirects(HttpClient.Redirect.NEVER) // one would take the secret along
            .connectTimeout(PATIENCE)
            .build();
    private final Path file;
    private final String domain;
    private volatile JsonNode known; // what the file said when it could be read last
    private volatile String worked; // the secret that Auth0 accepted last

    ClientSecrets(Path file, String domain) throws IOException {
        this.file = file;
        this.domain = domain;
        credentials();
    }

    /** Reads the file each time: Vault Agent replaces it by another. */
    JsonNode credentials() throws IOException {
        JsonNode read;
        try {
            read = JSON.readTree(Files.readString(file));
            if (read.path("client_secrets").isEmpty()) {
                throw new IOException(file + ": no client_secrets");
            }
        } catch (IOException e) {
            if (known == null) {
                throw e;
            }
            return known;
        }
        String found = read.path("domain").asText();
        if (!domain.equalsIgnoreCase(found)) {
            throw new IllegalStateException(file + ": the domain " + domain + " is expected, but it is for " + found);
        }
        known = read;
        return read;
    }

    /** Asks the token endpoint for what the grant is for. */
    JsonNode token(Map<String, String> grant) throws IOException, InterruptedException {
        HttpResponse<String> response = login(URI.create("https://" + domain + "/oauth/token"), grant);
        if (response.statusCode() != 200) {
            throw new IOException("no token: " + response.statusCode() + " " + oauthError(response));
        }
        return JSON.readTree(response.body());
    }

    /** Sends the grant with one secret after the other until Auth0 accepts one. */
    HttpResponse<String> login(URI endpoint, Map<String, String> grant) throws IOException, InterruptedException {
        Map<String, String> form = new HashMap<>(grant);
        form.put("client_id", credentials().path("client_id").asText());
        HttpResponse<String> response = null;
        for (int round = 0; round < ROUNDS; round++) {
            for (String secret : inOrder()) {
                form.put("client_secret", secret);
                response = send(endpoint, form);
                String error = oauthError(response);
                if (REFUSALS.contains(error)) {
                    continue;
                }
                if (response.statusCode() == 200 || error.equals("invalid_grant")) {
                    worked = secret;
                }
                return response;
            }
        }
        return response;
    }

    private List<String> inOrder() throws IOException {
        List<String> secrets = new ArrayList<>();
        credentials().path("client_secrets").forEach(secret -> secrets.add(secret.asText()));
        String first = worked;
        if (secrets.remove(first)) {
            secrets.add(0, first);
        }
        return secrets;
    }

    private HttpResponse<String> send(URI endpoint, Map<String, String> form) throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(endpoint)
                .timeout(PATIENCE)
                .header("Content-Type", "application/x-www-form-urlencoded")
                .POST(HttpRequest.BodyPublishers.ofString(encode(form)))
                .build();
        HttpResponse<String> response = http.send(request, HttpResponse.BodyHandlers.ofString());
        if (response.statusCode() >= 300 && response.statusCode() <= 399) {
            throw new IOException(endpoint + " answers with a redirect (" + response.statusCode() + "), which is not followed");
        }
        return response;
    }

    /** Why Auth0 has refused the request, as far as it says so. */
    private static String oauthError(HttpResponse<String> response) {
        if (response.statusCode() != 401 && response.statusCode() != 403) {
            return "";
        }
        try {
            return JSON.readTree(response.body()).path("error").asText();
        } catch (JsonProcessingException notJson) {
            return "";
        }
    }

    static String encode(Map<String, String> form) {
        return form.entrySet().stream()
                .map(field -> field.getKey() + "=" + URLEncoder.encode(field.getValue(), StandardCharsets.UTF_8))
                .collect(Collectors.joining("&"));
    }
}
