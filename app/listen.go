package app

import (
	"context"
	"errors"
	"fmt"
	"net"
)

const listenText = "must be host:port with a port between 0 and 65535"

// listenable tells whether an address is host:port at all.
func listenable(address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.DefaultResolver.LookupPort(context.Background(), "tcp", port) // asks nobody: ports are in a local table
	}
	return err == nil
}

// listen opens the port.
func listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return nil, fmt.Errorf("listening on %s: %w", address, err)
	}
	return listener, nil
}

// refuseDemoKeys keeps the well-known keys from being reachable from elsewhere. The address is listenable.
func refuseDemoKeys(keys keysConfig, address string) error {
	if !keys.holdsDemoKey() {
		return nil
	}
	host, _, _ := net.SplitHostPort(address)
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return &UsageError{fmt.Errorf("listening on %s: the demo's keys are refused on an address that is not loopback; set `keys:` in a file and give it with --config", address)}
}
