package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sluice/internal/topics"
)

type serveCmd struct {
	Config string   `help:"Configuration file; its sections replace the built-in ones." type:"path" required:""`
	Roles  []string `help:"Roles of this process: collector, filter, features, ranker, risk, warehouse, web. All by default, warehouse only where its store is ClickHouse."`
	Check  bool     `help:"Check the configuration, and exit."`
}

// Run runs the roles on a Kafka cluster whose topics exist.
func (c *serveCmd) Run(env *environment) error {
	s, err := c.server(env)
	if err != nil {
		return err
	}
	if c.Check {
		if _, err := loadRooms(s.settings); err != nil {
			return err
		}
		if _, err := s.openKeys(); err != nil {
			return err
		}
		fmt.Fprintln(env.stdout, validText)
		return nil
	}
	if err := s.checkTopics(env); err != nil {
		return err
	}
	if s.listener, err = listen(env, s.deployment.Server.Listen); err != nil {
		return err
	}
	s.deployment.Server.Listen = s.listener.Addr().String()
	if s.data, err = openDataDir(s.deployment.Server.Data, false); err != nil {
		return errors.Join(err, s.listener.Close())
	}
	defer s.data.Close()
	s.linger = s.deployment.Server.linger
	return s.run(env)
}

// server reads the configuration of a process on a cluster.
func (c *serveCmd) server(env *environment) (*server, error) {
	settings, err := loadConfig(c.Config)
	if err != nil {
		return nil, err
	}
	d, err := loadDeployment(settings)
	if err != nil {
		return nil, err
	}
	if len(d.Kafka.Brokers) == 0 {
		return nil, settings.section("kafka").Errorf(".brokers", "at least one host:port expected")
	}
	if d.Server.Data == "" {
		return nil, settings.section("server").Errorf(".data", "a directory expected")
	}
	if d.Server.RootKey == "" {
		return nil, settings.section("server").Errorf(".root_key", "the file of the deployment's root key expected; `sluice keys create FILE` makes one, and every node needs the same")
	}
	roles, err := parseRoles(c.Roles, d)
	if err != nil {
		return nil, err
	}
	if !listenable(env, d.Server.Listen) {
		return nil, settings.section("server").Errorf(".listen", listenText)
	}
	if err := refuseDemoKeys(d.Keys, d.Server.Listen); err != nil {
		return nil, err
	}
	if slices.Contains(roles, roleWeb) && len(d.Keys.Server) == 0 {
		return nil, settings.section("keys").Errorf(".server", "a key expected: the role web calls the API with it")
	}
	cluster, err := d.Kafka.cluster(settings.section("kafka"))
	if err != nil {
		return nil, err
	}
	return &server{settings: settings, deployment: d, cluster: cluster, roles: roles, env: env, logger: newLogger(env.stderr)}, nil
}

// parseRoles checks the roles that were named. Without names a process has every role, but not that of Parquet files: they are of one process, and there
// may be more.
func parseRoles(names []string, d *deployment) ([]string, error) {
	if len(names) == 0 && d.Warehouse.Store == storeParquet {
		return slices.DeleteFunc(allRoles(), func(role string) bool { return role == roleWarehouse }), nil
	}
	if len(names) == 0 {
		return allRoles(), nil
	}
	for _, name := range names {
		if !slices.Contains(allRoles(), name) {
			return nil, usageError{fmt.Errorf("--roles: unknown role %q; expected some of %s", name, strings.Join(allRoles(), ", "))}
		}
	}
	if slices.Contains(names, roleWeb) && (!slices.Contains(names, roleCollector) || !slices.Contains(names, roleRanker)) {
		return nil, usageError{errors.New("--roles: web calls the API at this process's own address; name collector and ranker beside it")}
	}
	return names, nil
}

// checkTopics refuses to work on topics that are not as they should be: a wrong number of partitions would break the order of a person's events.
func (s *server) checkTopics(env *environment) error {
	drift, err := topics.Check(env, s.cluster, s.deployment.Kafka.Replicas)
	if err != nil || len(drift) == 0 {
		return err
	}
	harmless := true
	for _, d := range drift {
		fmt.Fprintln(env.stderr, d)
		harmless = harmless && d.Harmless()
	}
	if harmless {
		return nil
	}
	return errors.New("the topics are not as they should be; `sluice topics create` makes those that are missing")
}
