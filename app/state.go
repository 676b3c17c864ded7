package app

import (
	"context"
	"fmt"
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

// streamRoles lists the roles of the stream in its order, with the names and inputs that the digest and the lag need.
func streamRoles() []stream.Role {
	return []stream.Role{filter.Engine(filter.Options{}).Alone(), features.Role(nil, nil), risk.DeciderEngine(nil).Alone()}
}

// projections say what the digest compares of each engine's changelog. It leaves out decisions, which depend on the order of arrival across subjects.
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
		Middlewares: api.Secure(httpx.RoleServer, httpx.RoleOperator), Security: httpx.Security(httpx.RoleServer, httpx.RoleOperator),
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
		Middlewares: api.Secure(httpx.RoleOperator), Security: httpx.Security(httpx.RoleOperator),
	}, func(ctx context.Context, _ *struct{}) (*struct{ Body *stream.StateDigest }, error) {
		digest, err := stream.Digest(ctx, cluster, streamRoles(), projections())
		if err != nil {
			return nil, httpx.NewProblem(http.StatusServiceUnavailable, "log_unavailable", "The log cannot be read now.")
		}
		return &struct{ Body *stream.StateDigest }{digest}, nil
	})
}

// Digest reads the digest of a stopped demo's directory. It starts the directory's broker for as long as reading takes.
func Digest(ctx context.Context, c *Config, dir string) (*stream.StateDigest, error) {
	d, err := loadDeployment(c)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, "broker")); err != nil {
		return nil, &UsageError{fmt.Errorf("%s is not a data directory: no broker in it", dir)}
	}
	data, err := openDataDir(dir, false, nil)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	b, err := broker.Start(broker.Options{Dir: data.join("broker")})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return stream.Digest(ctx, b.Cluster(d.Kafka.Prefix), streamRoles(), projections())
}
