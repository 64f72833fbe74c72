import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import org.springframework.core.io.ByteArrayResource;
import org.springframework.core.io.FileSystemResource;
import org.springframework.vault.authentication.AppRoleAuthentication;
import org.springframework.vault.authentication.AppRoleAuthenticationOptions;
import org.springframework.vault.authentication.AppRoleAuthenticationOptions.RoleId;
import org.springframework.vault.authentication.AppRoleAuthenticationOptions.SecretId;
import org.springframework.vault.authentication.ClientAuthentication;
import org.springframework.vault.authentication.ClientCertificateAuthentication;
import org.springframework.vault.authentication.KubernetesAuthentication;
import org.springframework.vault.authentication.KubernetesAuthenticationOptions;
import org.springframework.vault.authentication.SimpleSessionManager;
import org.springframework.vault.authentication.TokenAuthentication;
import org.springframework.vault.client.ClientHttpRequestFactoryFactory;
import org.springframework.vault.client.VaultClients;
import org.springframework.vault.client.VaultEndpoint;
import org.springframework.vault.client.VaultEndpointProvider;
import org.springframework.vault.core.VaultKeyValueOperationsSupport.KeyValueBackend;
import org.springframework.vault.core.VaultTemplate;
import org.springframework.vault.support.Ciphertext;
import org.springframework.vault.support.ClientOptions;
import org.springframework.vault.support.Plaintext;
import org.springframework.vault.support.SslConfiguration;
import org.springframework.vault.support.SslConfiguration.KeyConfiguration;
import org.springframework.vault.support.SslConfiguration.KeyStoreConfiguration;
import org.springframework.vault.support.VaultTokenRequest;
import org.springframework.vault.support.Versioned;
import org.springframework.web.client.HttpStatusCodeException;

/** Spring Vault, through the gate; its plan and what it prints are as `hvac_client.py` has them. */
public final class Caller {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final char[] PASSWORD = "none".toCharArray();
    private static final Map<String, Integer> NOTHING = Map.of("status", 404);

    private final VaultEndpoint endpoint;
    private final org.springframework.http.client.ClientHttpRequestFactory requests;
    private VaultTemplate vault;
    private Ciphertext ciphertext;

    private Caller(Map<String, Object> plan) throws Exception {
        endpoint = VaultEndpoint.from(URI.create((String) plan.get("address")));
        var trusted = pem((String) plan.get("ca"));
        var identity = plan.containsKey("key") ? identity(plan) : KeyStoreConfiguration.unconfigured();
        var ssl = new SslConfiguration(identity, KeyConfiguration.of(PASSWORD, "agent"), trusted);
        requests = ClientHttpRequestFactoryFactory.create(new ClientOptions(), ssl);
        use(authentication(plan));
    }

    private static KeyStoreConfiguration pem(String file) {
        return KeyStoreConfiguration.of(new FileSystemResource(file)).withStoreType(SslConfiguration.PEM_KEYSTORE_TYPE);
    }

    /** A certificate and its key, which Spring takes from a store of keys only. */
    private static KeyStoreConfiguration identity(Map<String, Object> plan) throws Exception {
        var store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        var certificate = new ByteArrayInputStream(Files.readAllBytes(Path.of((String) plan.get("certificate"))));
        var key = Files.readString(Path.of((String) plan.get("key"))).replaceAll("-----.*-----", "");
        var spec = new PKCS8EncodedKeySpec(Base64.getMimeDecoder().decode(key));
        var chain = new Certificate[] {CertificateFactory.getInstance("X.509").generateCertificate(certificate)};
        store.setKeyEntry("agent", KeyFactory.getInstance("EC").generatePrivate(spec), PASSWORD, chain);
        var written = new ByteArrayOutputStream();
        store.store(written, PASSWORD);
        return KeyStoreConfiguration.of(new ByteArrayResource(written.toByteArray()), PASSWORD).withStoreType("PKCS12");
    }

    private void use(ClientAuthentication authentication) {
        vault = new VaultTemplate(endpoint, requests, new SimpleSessionManager(authentication));
    }

    @SuppressWarnings("unchecked")
    private ClientAuthentication authentication(Map<String, Object> plan) {
        if (plan.containsKey("token")) {
            return new TokenAuthentication((String) plan.get("token"));
        }
        var login = (Map<String, Object>) plan.get("login");
        var data = (Map<String, String>) login.get("data");
        var rest = VaultClients.createRestTemplate((VaultEndpointProvider) () -> endpoint, requests);
        return switch ((String) login.get("method")) {
            case "cert" -> new ClientCertificateAuthentication(rest);
            // It has no login by JWT but that of Kubernetes.
            case "jwt" -> new KubernetesAuthentication(
                KubernetesAuthenticationOptions.builder().role(data.get("role")).jwtSupplier(() -> data.get("jwt")).build(), rest);
            default -> new AppRoleAuthentication(
                AppRoleAuthenticationOptions.builder().roleId(RoleId.provided(data.get("role_id")))
                    .secretId(SecretId.provided(data.get("secret_id"))).build(), rest);
        };
    }

    @SuppressWarnings("unchecked")
    private Object call(String name, List<Object> rest) {
        var secrets = vault.opsForVersionedKeyValue("secret");
        var transit = vault.opsForTransit("transit");
        String first = rest.isEmpty() ? "" : (String) rest.get(0);
        switch (name) {
            case "write":
                return secrets.put(first, rest.get(1)).getVersion().getVersion();
            case "patch":
                vault.opsForKeyValue("secret", KeyValueBackend.KV_2).patch(first, (Map<String, ?>) rest.get(1));
                return secrets.get(first).getRequiredMetadata().getVersion().getVersion();
            case "read":
                Versioned<Map<String, Object>> read = secrets.get(first);
                return read == null ? NOTHING : List.of(read.getVersion().getVersion(), read.getRequiredData());
            case "version":
                Versioned<Map<String, Object>> old = secrets.get(first, Versioned.Version.from((int) rest.get(1)));
                return old == null ? NOTHING : old.getRequiredData();
            case "list":
                return secrets.list(first);
            case "delete":
                secrets.delete(first);
                return null;
            case "encrypt":
                ciphertext = transit.encrypt(first, Plaintext.of(Base64.getDecoder().decode((String) rest.get(1))));
                return ciphertext.getCiphertext().substring(0, 9);
            case "decrypt":
                return Base64.getEncoder().encodeToString(transit.decrypt(first, ciphertext).getPlaintext());
            case "lookup":
                return vault.read("auth/token/lookup-self").getRequiredData().get("display_name");
            case "create":
                var seconds = Duration.parse("PT" + first.toUpperCase());
                var token = vault.opsForToken().create(VaultTokenRequest.builder().ttl(seconds).build());
                use(new TokenAuthentication(token.getToken()));
                return token.getAuth().get("lease_duration");
            case "revoke":
                vault.write("auth/token/revoke-self", null);
                return null;
            default:
                throw new IllegalArgumentException(name);
        }
    }

    /** What a call gave, or the status with which it was refused, else why it failed. */
    private Object tried(String name, List<Object> rest) {
        try {
            return call(name, rest);
        } catch (RuntimeException refused) {
            for (Throwable cause = refused; cause != null; cause = cause.getCause()) {
                if (cause instanceof HttpStatusCodeException status) {
                    return Map.of("status", status.getStatusCode().value());
                }
            }
            return refused.toString();
        }
    }

    @SuppressWarnings("unchecked")
    public static void main(String[] arguments) throws Exception {
        Map<String, Object> plan = JSON.readValue(System.in, Map.class);
        var caller = new Caller(plan);
        var saw = new ArrayList<Object>();
        for (var call : (List<List<Object>>) plan.get("calls")) {
            saw.add(caller.tried((String) call.get(0), call.subList(1, call.size())));
        }
        System.out.println(JSON.writeValueAsString(saw));
    }
}
