package collector

import (
	"net/http"
	"time"

	"sluice/ingest"
	"sluice/ingest/eventpb"
	"sluice/internal/httpx"
	"sluice/internal/quota"
	"sluice/internal/vocab"
)

// Codes that only a caller's key explains. They are stable.
const (
	CodeServerKey       = "server_key_expected" // rejected
	CodeUserNotVerified = "user_not_verified"   // warning: the user_id was set aside
)

const dayMicros = int64(24 * time.Hour / time.Microsecond)

// caller is who posts, and what a request says about all of its events.
type caller struct {
	role     httpx.Role
	trusted  bool   // a user_id counts as it is
	user     string // whom a valid user token names
	unproved error  // why there is none
	gpc      bool
	quota    quota.Caller
	received int64 // Unix microseconds
	sentAt   int64 // of the batch, 0 = not told
}

// trustedCaller posts with a server key, or through our own topics.
func trustedCaller(received time.Time) *caller {
	return &caller{role: httpx.RoleServer, trusted: true, received: received.UnixMicro()}
}

// callerOf reads who posts. The problem is 401 or 403.
func (c *Collector) callerOf(r *http.Request, roles ...httpx.Role) (*caller, *httpx.Problem) {
	role, problem := c.keys.Admit(r, roles...)
	if problem != nil {
		return nil, problem
	}
	who := &caller{
		role: role, trusted: role == httpx.RoleServer || c.o.Config.TrustClientIdentity,
		gpc: httpx.HasGPC(r), quota: c.o.Quotas.Caller(r, role), received: c.now().UnixMicro(),
	}
	if !who.trusted {
		who.user, who.unproved = c.tokens.User(r)
	}
	return who, nil
}

// proof says what the user token must have.
func (who *caller) proof() string {
	if who.unproved != nil {
		return who.unproved.Error()
	}
	return "sub must be the user_id"
}

// settle limits a decoded event to what this caller may say. It completes the event from the request, sets aside what does not count, gives identifiers their
// canonical form, reads what the event denies, and finds what the key forbids. It appends to warnings.
func (c *Collector) settle(who *caller, ev *ingest.Event, warnings []ingest.Warning) ([]ingest.Warning, *ingest.Fault) {
	if ev.UserId != "" && !who.trusted && ev.UserId != who.user {
		ev.UserId = ""
		warnings = append(warnings, ingest.Warning{Code: CodeUserNotVerified, Pointer: "/user_id", Detail: "this counts only beside a user token of the same person; it was set aside: " + who.proof()})
	}
	if who.role != httpx.RoleServer {
		if fault := forbidden(ev); fault != nil {
			return warnings, fault
		}
	}
	warnings, fault := c.o.Config.Forms.Apply(ev, warnings)
	if fault != nil {
		return warnings, fault
	}
	if ev.UserId == "" && ev.AnonymousId == "" {
		return warnings, &ingest.Fault{Code: ingest.CodeMissingField, Pointer: "/anonymous_id", Detail: "there must be an anonymous_id, or a user_id beside its token"}
	}
	if ev.SentAt == 0 {
		ev.SentAt = who.sentAt
	}
	if ev.SentAt == 0 && who.role == httpx.RoleServer {
		ev.SentAt = who.received
	}
	if c.o.Denied != nil {
		warnings = ingest.ReadDenied(ev, c.o.Denied, warnings)
	}
	warnings = ingest.ReadRevision(ev, c.o.Place, warnings)
	if who.gpc {
		denyByGPC(ev)
	}
	return warnings, nil
}

// date corrects the event's time. The fault is a time that cannot be, or one that no purpose would keep any more. Rows of a replay do not come here: their map says
// which times are plausible, and the filter finds what has expired.
func (c *Collector) date(who *caller, ev *ingest.Event, warnings []ingest.Warning) ([]ingest.Warning, *ingest.Fault) {
	warnings, fault := ingest.Date(ev, who.received, warnings)
	if fault == nil && c.expired(ev, who.received) {
		fault = &ingest.Fault{Code: ingest.CodeExpired, Pointer: "/time", Detail: "must be within the time for which some purpose keeps such events"}
	}
	return warnings, fault
}

// expired tells whether every purpose that could use the event would have let it go by now. Each purpose counts, as in the filter, from the newest day of an event
// that it takes; here of those that this process has written to the partition. The filter is the authority; this tells the caller at once.
func (c *Collector) expired(ev *ingest.Event, received int64) (expired bool) {
	if kept := c.kept[ev.Type&63]; kept == 0 || ev.Time >= received-kept {
		return false
	}
	for i := range c.o.Keeps {
		k := &c.o.Keeps[i]
		if !k.takes(ev) {
			continue
		}
		newest := c.o.Log.Newest(ev, k.Types)
		if ev.Time >= newest-newest%dayMicros-k.Kept.Microseconds() {
			return false
		}
		expired = true
	}
	return expired
}

// denyByGPC notes the browser's signal: no switchable and no additional purpose may use the event.
func denyByGPC(ev *ingest.Event) {
	if ev.Consent == nil {
		ev.Consent = new(eventpb.Consent)
	}
	ev.Consent.Gpc = true
}

// forbidden finds what only a server key may post.
func forbidden(ev *ingest.Event) *ingest.Fault {
	pointer := ""
	switch {
	case !browsing(ev.Type):
		pointer = "/type"
	case ev.Jurisdiction != "":
		pointer = "/jurisdiction"
	case ev.Order != nil:
		pointer = "/order"
	case ev.Account != nil:
		pointer = "/account"
	default:
		return nil
	}
	return &ingest.Fault{Code: CodeServerKey, Pointer: pointer, Detail: "must come with a server key"}
}

// browsing tells whether a page may post the type: neither payments, nor what happens to an account, nor labels.
func browsing(t vocab.Type) bool {
	switch t {
	case vocab.Type_PURCHASE, vocab.Type_REFUND, vocab.Type_SIGN_UP, vocab.Type_LOGIN, vocab.Type_LOGIN_FAILED, vocab.Type_PASSWORD_CHANGE,
		vocab.Type_VERIFICATION, vocab.Type_PAYMENT, vocab.Type_CHARGEBACK, vocab.Type_REPORT:
		return false
	default:
		return true
	}
}
