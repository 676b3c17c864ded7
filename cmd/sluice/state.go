package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"

	"github.com/danielgtaylor/huma/v2"

	"sluice/features"
	"sluice/internal/broker"
	"sluice/internal/httpx"
	"sluice/internal/stream"
	"sluice/privacyfilter/filter"
	"sluice/risk"
)

// streamRoles are all roles of the stream, in its order, as the digest and the lag ask about them: names and inputs.
func streamRoles() []stream.Role {
	return []stream.Role{filter.Engine(filter.Options{}).Alone(), features.Role(nil, nil), risk.DeciderEngine(nil).Alone()}
}

// projections say what the digest compares of each engine's changelog. Decisions depend on the arrival order across subjects and are left out.
func projections() map[string]stream.Projection {
	all := map[string]stream.Projection{filter.Engine(filter.Options{}).Name: filter.Projection()}
	maps.Copy(all, features.Projections())
	return all
}

type lagAnswer struct {
	Body struct {
		Lag int64 `json:"lag" doc:"Records that the engines have not committed yet; 0 = everything is settled."`
	}
}

// registerState adds the endpoints that tell how far the stream is, and the digest of what it keeps.
func registerState(api *httpx.API, cluster stream.Cluster) {
	huma.Register(api.Huma, huma.Operation{
		OperationID: "get-lag", Method: http.MethodGet, Path: "/v1/state/lag", Tags: []string{"state"}, Summary: "Records still to be processed",
		Middlewares: api.Secure(httpx.RoleServer, httpx.RoleOperator),
	}, func(ctx context.Context, _ *struct{}) (*lagAnswer, error) {
		lag, err := stream.Lag(ctx, cluster, streamRoles())
		if err != nil {
			return nil, httpx.NewProblem(http.StatusServiceUnavailable, "log_unavailable", "The log cannot be read now.")
		}
		answer := new(lagAnswer)
		answer.Body.Lag = lag
		return answer, nil
	})
	huma.Register(api.Huma, huma.Operation{
		OperationID: "get-digest", Method: http.MethodGet, Path: "/v1/state/digest", Tags: []string{"state"}, Summary: "Digest of everything that is kept",
		Description: "Per store the sum modulo 2^256 of SHA-256(length of key, key, value). Equal logs give equal digests. It reads every changelog: ask /v1/state/lag while waiting.",
		Middlewares: api.Secure(httpx.RoleOperator),
	}, func(ctx context.Context, _ *struct{}) (*struct{ Body *stream.StateDigest }, error) {
		digest, err := stream.Digest(ctx, cluster, streamRoles(), projections())
		if err != nil {
			return nil, httpx.NewProblem(http.StatusServiceUnavailable, "log_unavailable", "The log cannot be read now.")
		}
		return &struct{ Body *stream.StateDigest }{digest}, nil
	})
}

type stateCmd struct {
	Digest digestCmd `cmd:"" help:"Digest of the state, per store: equal logs give equal digests. Exit code 1 if something is still to be processed."`
}

type digestCmd struct {
	Data   string `help:"Data directory of a stopped demo." type:"path" xor:"where"`
	To     string `help:"Address of a running server." xor:"where"`
	Config string `help:"Configuration file that the demo ran with, for kafka.prefix; only with --data." type:"path"`
	Key    string `help:"Operator key; the demo's by default." env:"SLUICE_KEY" default:"demo_operator"`
	JSON   bool   `name:"json" help:"One JSON object on standard output."`
}

// Run prints the digest.
func (c *digestCmd) Run(env *environment) error {
	digest, err := c.digest(env)
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(env.stdout).Encode(digest)
	} else {
		printDigest(env.stdout, digest)
	}
	if err == nil && digest.Lag > 0 {
		return fmt.Errorf("lag %d: the digest is not final", digest.Lag)
	}
	return err
}

func (c *digestCmd) digest(env *environment) (*stream.StateDigest, error) {
	if (c.Data == "") == (c.To == "") {
		return nil, usageError{errors.New("state digest: --data DIR or --to URL expected")}
	}
	if c.To != "" {
		digest := new(stream.StateDigest)
		return digest, get(env, c.To, "/v1/state/digest", c.Key, digest)
	}
	settings, err := loadConfig(c.Config)
	if err != nil {
		return nil, err
	}
	d, err := loadDeployment(settings)
	if err != nil {
		return nil, err
	}
	return digestOfData(env, c.Data, d.Kafka.Prefix)
}

func printDigest(w io.Writer, digest *stream.StateDigest) {
	fmt.Fprintf(w, "%s lag=%d\n", digest.Digest, digest.Lag)
	for _, s := range digest.Stores {
		fmt.Fprintf(w, "  %-22s %10d  %s\n", s.Name, s.Keys, s.Digest)
	}
}

// digestOfData starts the broker of a stopped demo's directory for as long as reading takes.
func digestOfData(ctx context.Context, dir, prefix string) (*stream.StateDigest, error) {
	if _, err := os.Stat(filepath.Join(dir, "broker")); err != nil {
		return nil, usageError{fmt.Errorf("%s is not a data directory: no broker in it", dir)}
	}
	data, err := openDataDir(dir, false)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	b, err := broker.Start(broker.Options{Dir: data.join("broker")})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return stream.Digest(ctx, stream.Cluster{Brokers: b.Addrs(), Prefix: prefix}, streamRoles(), projections())
}
