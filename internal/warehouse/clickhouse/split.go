package clickhouse

import (
	"errors"
	"strings"
)

// errOpenEnd is the error of SQL that ends within a statement, a quotation or a comment.
var errOpenEnd = errors.New("the file ends within a statement, a quotation or a comment; each statement ends with ;")

// split cuts SQL into its statements, without comments and without the ; at each one's end.
func split(sql string) ([]string, error) {
	var statements []string
	var b strings.Builder
	for len(sql) > 0 {
		n, comment := token(sql)
		switch {
		case n < 0:
			return nil, errOpenEnd
		case comment:
			b.WriteByte(' ')
		case sql[0] == ';':
			if s := strings.TrimSpace(b.String()); s != "" {
				statements = append(statements, s)
			}
			b.Reset()
		default:
			b.WriteString(sql[:n])
		}
		sql = sql[n:]
	}
	if strings.TrimSpace(b.String()) != "" {
		return nil, errOpenEnd
	}
	return statements, nil
}

// token is the length of what stands first in the SQL: a quotation, a comment or a single byte. -1: it has no end.
func token(sql string) (n int, comment bool) {
	switch {
	case strings.HasPrefix(sql, "--"):
		if end := strings.IndexByte(sql, '\n'); end >= 0 {
			return end, true
		}
		return len(sql), true
	case strings.HasPrefix(sql, "/*"):
		end := strings.Index(sql[2:], "*/")
		if end < 0 {
			return -1, true
		}
		return end + 4, true
	case sql[0] == '\'' || sql[0] == '"' || sql[0] == '`':
		return quotation(sql), false
	default:
		return 1, false
	}
}

// quotation is the length of the quotation that begins the SQL, -1 if it has no end. A doubled quote reads as two quotations, which does no harm here.
func quotation(sql string) int {
	for i := 1; i < len(sql); i++ {
		switch sql[i] {
		case '\\':
			i++
		case sql[0]:
			return i + 1
		}
	}
	return -1
}
