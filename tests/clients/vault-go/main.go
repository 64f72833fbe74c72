// Command vault-go is HashiCorp's client for Go, through the gate. It reads a plan and prints what it saw as
// `hvac_client.py` has it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"

	vault "github.com/hashicorp/vault/api"
)

type plan struct {
	Address, CA, Certificate, Key, Token string
	Login                                *struct {
		Method string
		Data   map[string]any
	}
	Calls [][]any
}

type caller struct {
	client *vault.Client
	// The last ciphertext.
	ciphertext any
}

func connect(plan plan) (*vault.Client, error) {
	config := vault.DefaultConfig()
	config.Address = plan.Address
	config.MaxRetries = 0
	tls := vault.TLSConfig{CACert: plan.CA, ClientCert: plan.Certificate, ClientKey: plan.Key}
	if err := config.ConfigureTLS(&tls); err != nil {
		return nil, err
	}
	client, err := vault.NewClient(config)
	if err != nil {
		return nil, err
	}
	client.SetToken(plan.Token)
	if plan.Login != nil {
		secret, err := client.Logical().Write("auth/"+plan.Login.Method+"/login", plan.Login.Data)
		if err != nil {
			return nil, err
		}
		client.SetToken(secret.Auth.ClientToken)
	}
	return client, nil
}

func (c *caller) call(name string, rest []any) (any, error) {
	ctx, kv, logical := context.Background(), c.client.KVv2("secret"), c.client.Logical()
	text := func(index int) string { return rest[index].(string) }
	switch name {
	case "write":
		secret, err := kv.Put(ctx, text(0), rest[1].(map[string]any))
		if err != nil {
			return nil, err
		}
		return secret.VersionMetadata.Version, nil
	case "patch":
		secret, err := kv.Patch(ctx, text(0), rest[1].(map[string]any))
		if err != nil {
			return nil, err
		}
		return secret.VersionMetadata.Version, nil
	case "delete":
		return nil, kv.Delete(ctx, text(0))
	case "read":
		secret, err := kv.Get(ctx, text(0))
		if err != nil {
			return nil, err
		}
		return []any{secret.VersionMetadata.Version, secret.Data}, nil
	case "version":
		secret, err := kv.GetVersion(ctx, text(0), int(rest[1].(float64)))
		if err != nil {
			return nil, err
		}
		return secret.Data, nil
	case "list":
		secret, err := logical.List("secret/metadata/" + text(0))
		if err != nil {
			return nil, err
		}
		return secret.Data["keys"], nil
	case "encrypt":
		secret, err := logical.Write("transit/encrypt/"+text(0), map[string]any{"plaintext": text(1)})
		if err != nil {
			return nil, err
		}
		c.ciphertext = secret.Data["ciphertext"]
		return c.ciphertext.(string)[:9], nil
	case "decrypt":
		secret, err := logical.Write("transit/decrypt/"+text(0), map[string]any{"ciphertext": c.ciphertext})
		if err != nil {
			return nil, err
		}
		return secret.Data["plaintext"], nil
	case "lookup":
		secret, err := c.client.Auth().Token().LookupSelf()
		if err != nil {
			return nil, err
		}
		return secret.Data["display_name"], nil
	case "create":
		secret, err := c.client.Auth().Token().Create(&vault.TokenCreateRequest{TTL: text(0)})
		if err != nil {
			return nil, err
		}
		c.client.SetToken(secret.Auth.ClientToken)
		return secret.Auth.LeaseDuration, nil
	case "revoke":
		return nil, c.client.Auth().Token().RevokeSelf("")
	}
	return nil, errors.New("no call is named " + name)
}

// status gives what an error is to the test: its status.
func status(err error) any {
	var response *vault.ResponseError
	switch {
	case errors.As(err, &response):
		return map[string]any{"status": response.StatusCode}
	case errors.Is(err, vault.ErrSecretNotFound):
		return map[string]any{"status": 404}
	}
	return err.Error()
}

func follow(plan plan) []any {
	client, err := connect(plan)
	if err != nil {
		return []any{status(err)}
	}
	var saw []any
	caller := caller{client: client}
	for _, call := range plan.Calls {
		result, err := caller.call(call[0].(string), call[1:])
		if err != nil {
			result = status(err)
		}
		saw = append(saw, result)
	}
	return saw
}

func main() {
	var plan plan
	if err := json.NewDecoder(os.Stdin).Decode(&plan); err != nil {
		log.Fatal(err)
	}
	saw, err := json.Marshal(follow(plan))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(saw))
}
