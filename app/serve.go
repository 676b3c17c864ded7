package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sluice/internal/admission"
	"sluice/internal/stream"
	"sluice/internal/topics"
)

// New makes a node with some of the roles, or all, on the Kafka cluster that the configuration names. A *UsageError or a *config.Error tells what is wrong
// with the roles or the file.
func New(c *Config, roles []string, o Options) (*Node, error) {
	d, r, err := c.load()
	if err != nil {
		return nil, err
	}
	cluster, err := d.Kafka.cluster(c.asked("kafka"))
	if err != nil {
		return nil, err
	}
	if d.Server.Data == "" {
		return nil, c.asked("server").Errorf(".data", "must name a directory")
	}
	if d.Server.RootKey == "" {
		return nil, c.asked("server").Errorf(".root_key", "must name the file of the deployment's root key; `sluice keys create FILE` makes one, and every node needs the same")
	}
	if roles, err = parseRoles(roles, d); err != nil {
		return nil, err
	}
	if !listenable(d.Server.Listen) {
		return nil, c.Section("server").Errorf(".listen", listenText)
	}
	if err := refuseDemoKeys(d.Keys, d.Server.Listen); err != nil {
		return nil, err
	}
	n := newNode(c, d, r, roles, o)
	n.cluster = cluster
	n.cluster.Feed, n.cluster.Lane = stream.NewFeed(), admission.NewLane(0)
	return n, nil
}

// parseRoles checks the roles that were named. Without names a process has every role, except the warehouse if it writes Parquet files: only one process may, and
// there may be several.
func parseRoles(names []string, d *deployment) ([]string, error) {
	if len(names) == 0 && d.Warehouse.Store == storeParquet {
		return slices.DeleteFunc(allRoles(), func(role string) bool { return role == roleWarehouse }), nil
	}
	if len(names) == 0 {
		return allRoles(), nil
	}
	for _, name := range names {
		if !slices.Contains(allRoles(), name) {
			return nil, &UsageError{fmt.Errorf("--roles: unknown role %q; it must be one of %s", name, strings.Join(allRoles(), ", "))}
		}
	}
	if slices.Contains(names, roleWeb) && (!slices.Contains(names, roleCollector) || !slices.Contains(names, roleRanker)) {
		return nil, &UsageError{errors.New("--roles: web calls the API at this process's own address; name collector and ranker beside it")}
	}
	return names, nil
}

// Check looks at what the node needs beside its configuration, without starting anything.
func (n *Node) Check() error {
	_, err := n.openKeys()
	return errors.Join(err, n.openCertificate())
}

// checkTopics refuses to work on topics that are not as they should be: a wrong number of partitions would break the order of a person's events.
func (n *Node) checkTopics(ctx context.Context) error {
	drift, err := topics.Check(ctx, n.cluster, n.deployment.Kafka.Replicas)
	if err != nil || len(drift) == 0 {
		return err
	}
	harmless := true
	for _, d := range drift {
		fmt.Fprintln(n.Stderr, d)
		harmless = harmless && d.Harmless()
	}
	if harmless {
		return nil
	}
	return errors.New("the topics are not as they should be; `sluice topics create` makes those that are missing")
}
