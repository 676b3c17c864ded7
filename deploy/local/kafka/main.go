// Command kafka runs Apache Kafka on loopback, for a first deployment on one machine and for tests: one broker, or three.
//
//	go run ./deploy/local/kafka -brokers 3
//
// It fetches Kafka once (43 MB, with Maven; a Java runtime is needed), waits until the brokers are ready, prints the section `kafka` of a
// configuration file for them, and ends them when it is interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"sluice/deploy/local/kafka/kraft"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "kafka:", err)
		os.Exit(1)
	}
}

func run() error {
	brokers := flag.Int("brokers", 1, "1 or 3")
	dir := flag.String("dir", "", "data and logs, resumed if they are there; a temporary directory if empty")
	user := flag.String("secure-user", "", "add a listener with TLS and SCRAM for this user")
	password := flag.String("secure-password-file", "", "the file of that user's password")
	fetch := flag.Bool("fetch", false, "fetch Kafka and exit")
	flag.Parse()
	if flag.NArg() > 0 || *brokers != 1 && *brokers != 3 {
		return errors.New("-brokers must be 1 or 3, and there must be no arguments")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *fetch {
		libs, err := kraft.Fetch(ctx)
		if err == nil {
			fmt.Fprintln(os.Stdout, libs)
		}
		return err
	}
	o := kraft.Options{Brokers: *brokers, Dir: *dir, LongRun: true}
	if *user != "" {
		secret, err := os.ReadFile(*password)
		if err != nil {
			return fmt.Errorf("-secure-password-file: %w", err)
		}
		o.Secure = &kraft.Credentials{User: *user, Password: strings.TrimRight(string(secret), "\r\n")}
	}
	return serve(ctx, o, *password)
}

func serve(ctx context.Context, o kraft.Options, passwordFile string) (err error) {
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "sluice-kafka-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	}
	cluster, err := kraft.Start(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "ready: Apache Kafka %s, %d broker(s), data in %s\n\n%s", kraft.Version, o.Brokers, o.Dir, section(cluster, o, passwordFile))
	<-ctx.Done()
	return cluster.Stop()
}

// section is what a configuration file says of this cluster.
func section(cluster *kraft.Cluster, o kraft.Options, passwordFile string) string {
	var s strings.Builder
	addrs := cluster.Addrs()
	if o.Secure != nil {
		addrs = cluster.SecureAddrs()
	}
	fmt.Fprintf(&s, "kafka:\n  brokers: [%s]\n  replicas: %d\n", strings.Join(addrs, ", "), o.Brokers)
	if o.Secure == nil {
		return s.String()
	}
	absolute, err := filepath.Abs(passwordFile)
	if err != nil {
		absolute = passwordFile
	}
	fmt.Fprintf(&s, "  tls: {enabled: true, ca: %s}\n  sasl: {mechanism: scram-sha-512, user: %s, password_file: %s}\n", cluster.CA(), o.Secure.User, absolute)
	return s.String()
}
