package com.example.shop;

import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.RSAKey;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.interfaces.RSAPrivateCrtKey;
import java.security.interfaces.RSAPublicKey;
import java.security.spec.RSAPublicKeySpec;
import java.util.Map;
import org.springframework.boot.json.JsonParserFactory;
import org.springframework.security.converter.RsaKeyConverters;

/**
 * The file that Vault Agent renders from auth0/creds/shop. What it has must be for the
 * domain of the application's own tenant.
 */
final class ClientKey {

    private final Path file;
    private final String domain;
    private volatile Map<String, Object> known; // what the file said when it could be read last

    ClientKey(Path file, String domain) {
        this.file = file;
        this.domain = domain;
        credentials();
    }

    /** Reads the file each time: Vault Agent replaces it by another. */
    Map<String, Object> credentials() {
        Map<String, Object> read;
        try {
            read = JsonParserFactory.getJsonParser().parseMap(Files.readString(file));
            if (!read.containsKey("private_key")) {
                throw new IllegalArgumentException("no private_key");
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

    /** The key that signs the next assertion. */
    RSAKey key() {
        Map<String, Object> read = credentials();
        byte[] pem = ((String) read.get("private_key")).getBytes(StandardCharsets.US_ASCII);
        var key = (RSAPrivateCrtKey) RsaKeyConverters.pkcs8().convert(new ByteArrayInputStream(pem));
        return new RSAKey.Builder(publicHalf(key.getModulus(), key.getPublicExponent()))
                .privateKey(key)
                .keyID((String) read.get("kid"))
                .algorithm(JWSAlgorithm.parse((String) read.get("signing_algorithm")))
                .build();
    }

    private static RSAPublicKey publicHalf(BigInteger modulus, BigInteger exponent) {
        try {
            return (RSAPublicKey) KeyFactory.getInstance("RSA").generatePublic(new RSAPublicKeySpec(modulus, exponent));
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }
}
