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
	60:  "a table that exists expected",
	81:  "a database that exists expected",
	192: "a user that exists expected",
	194: "the user's password in SLUICE_CLICKHOUSE_PASSWORD expected",
	497: "a user who may read the table expected",
	516: "a user, and the user's password in SLUICE_CLICKHOUSE_PASSWORD, that the server knows expected",
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
