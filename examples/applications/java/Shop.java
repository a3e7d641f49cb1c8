package com.example.shop;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URLDecoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.Base64;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;

/** A web application without a framework. */
final class Shop {

    private static final SecureRandom RANDOM = new SecureRandom();

    private final String domain = System.getenv("DOMAIN"); // such as example.eu.auth0.com: not what the file says
    private final String baseURL = System.getenv("BASE_URL"); // such as https://shop.example.com
    private final ClientSecrets secrets;
    private final Map<String, String> logins = new ConcurrentHashMap<>(); // that have begun: verifiers of PKCE, by state
    private final Map<String, JsonNode> sessions = new ConcurrentHashMap<>(); // tokens, by cookie

    private Shop() throws IOException {
        secrets = new ClientSecrets(Path.of(System.getenv("CREDENTIALS")), domain); // such as /run/shop/auth0.json
    }

    public static void main(String[] args) throws IOException {
        Shop shop = new Shop();
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT"))), 0);
        server.createContext("/", shop::handle);
        server.start();
    }

    private void handle(HttpExchange exchange) throws IOException {
        try (exchange) {
            try {
                switch (exchange.getRequestURI().getPath()) {
                    case "/login" -> login(exchange);
                    case "/callback" -> callback(exchange);
                    case "/refresh" -> refresh(exchange);
                    case "/api" -> api(exchange);
                    default -> home(exchange);
                }
            } catch (Exception e) {
                e.printStackTrace();
                exchange.sendResponseHeaders(502, -1);
            }
        }
    }

    private void login(HttpExchange exchange) throws Exception {
        String state = random();
        String verifier = random();
        logins.put(state, verifier);
        byte[] challenge = MessageDigest.getInstance("SHA-256").digest(verifier.getBytes(StandardCharsets.US_ASCII));
        exchange.getResponseHeaders().add("Set-Cookie", "login=" + state + "; HttpOnly; SameSite=Lax");
        redirect(exchange, "https://" + domain + "/authorize?" + ClientSecrets.encode(Map.of(
                "response_type", "code",
                "client_id", secrets.credentials().path("client_id").asText(),
                "redirect_uri", baseURL + "/callback",
                "scope", "openid profile offline_access",
                "state", state,
                "code_challenge", Base64.getUrlEncoder().withoutPadding().encodeToString(challenge),
                "code_challenge_method", "S256")));
    }

    private void callback(HttpExchange exchange) throws Exception {
        Map<String, String> query = fields(exchange.getRequestURI().getRawQuery(), "&");
        String state = query.getOrDefault("state", "");
        String verifier = logins.remove(state);
        if (verifier == null || !state.equals(cookie(exchange, "login"))) {
            throw new IOException("not a login of this browser");
        }
        JsonNode tokens = secrets.token(Map.of(
                "grant_type", "authorization_code",
                "code", query.get("code"),
                "redirect_uri", baseURL + "/callback",
                "code_verifier", verifier));
        String session = random();
        sessions.put(session, tokens);
        exchange.getResponseHeaders().add("Set-Cookie", "session=" + session + "; HttpOnly; SameSite=Lax");
        redirect(exchange, baseURL + "/");
    }

    private void home(HttpExchange exchange) throws Exception {
        var request = HttpRequest.newBuilder(URI.create("https://" + domain + "/userinfo"))
                .header("Authorization", "Bearer " + tokens(exchange).path("access_token").asText())
                .build();
        HttpResponse<String> user = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        if (user.statusCode() != 200) {
            throw new IOException("no user: " + user.statusCode());
        }
        answer(exchange, user.body());
    }

    private void refresh(HttpExchange exchange) throws Exception {
        JsonNode refreshed = secrets.token(Map.of(
                "grant_type", "refresh_token",
                "refresh_token", tokens(exchange).path("refresh_token").asText()));
        answer(exchange, new ObjectMapper().createObjectNode().set("expires_in", refreshed.path("expires_in")).toString());
    }

    /** A token of the application's own. One that serves many requests is kept until it is about to expire. */
    private void api(HttpExchange exchange) throws Exception {
        JsonNode token = secrets.token(Map.of(
                "grant_type", "client_credentials",
                "audience", System.getenv("AUDIENCE"))); // such as https://api.example.com/
        answer(exchange, new ObjectMapper().createObjectNode().set("expires_in", token.path("expires_in")).toString());
    }

    private JsonNode tokens(HttpExchange exchange) throws IOException {
        JsonNode tokens = sessions.get(cookie(exchange, "session"));
        if (tokens == null) {
            throw new IOException("nobody has logged in");
        }
        return tokens;
    }

    private static String random() {
        byte[] bytes = new byte[32];
        RANDOM.nextBytes(bytes);
        return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    }

    private static String cookie(HttpExchange exchange, String name) {
        return fields(exchange.getRequestHeaders().getFirst("Cookie"), "; ").getOrDefault(name, "");
    }

    private static Map<String, String> fields(String text, String separator) {
        return Arrays.stream((text == null ? "" : text).split(separator))
                .map(field -> field.split("=", 2))
                .filter(field -> field.length == 2)
                .collect(Collectors.toMap(field -> field[0], field -> URLDecoder.decode(field[1], StandardCharsets.UTF_8), (a, b) -> b));
    }

    private static void redirect(HttpExchange exchange, String to) throws IOException {
        exchange.getResponseHeaders().add("Location", to);
        exchange.sendResponseHeaders(302, -1);
    }

    private static void answer(HttpExchange exchange, String json) throws IOException {
        byte[] body = json.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().add("Content-Type", "application/json");
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
    }
}
