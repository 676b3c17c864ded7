package clickhouse

import (
	"context"
	"errors"
	"net/url"
	"strconv"

	ch "github.com/ClickHouse/clickhouse-go/v2"
)

// Codes of the server's errors that are about the address or the user.
var wrongCodes = map[int32]string{
	60:  "must name a table that exists",
	81:  "must name a database that exists",
	192: "must name a user that exists",
	194: "SLUICE_CLICKHOUSE_PASSWORD must hold the user's password",
	497: "must name a user who may read the table",
	516: "must name a user that the server knows, and SLUICE_CLICKHOUSE_PASSWORD hold the password",
}

// told keeps of an error what holds no values: the server's code, the end of the context, what the network says. The server's own text may quote rows.
func told(err error) error {
	if err == nil {
		return nil
	}
	var exception *ch.Exception
	if errors.As(err, &exception) {
		if message := wrongCodes[exception.Code]; message != "" {
			return wrong(message)
		}
		return errors.New("the server answers error " + strconv.Itoa(int(exception.Code)))
	}
	for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, end) {
			return end
		}
	}
	var status *ch.HTTPError
	if errors.As(err, &status) {
		return errors.New("the server answers HTTP status " + strconv.Itoa(status.StatusCode))
	}
	var request *url.Error
	if errors.As(err, &request) { // its text is the whole address, and in it the statement
		return request.Err
	}
	return err
}
