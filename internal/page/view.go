package page

import "html/template"

// view is what templates see.
type view struct {
	Lang, Dir      string
	Status         int
	Code           string
	Icon           string // person, clock, shield, globe, lock or note
	Title, Heading string
	Detail         *text // what happened
	Name           string
	Logo           template.URL
	Light, Dark    shades

	Next      *text // what helps that no link of ours leads to
	RetryText *text // when to try again, in words
	Ways      []way // the ways on, the best one first
	Ask       *text // whom to ask where no link leads to help

	// The same URLs by name; absent where the brand has none.
	Login, Logout, Home, Support, RequestAccess, Retry *text

	Unsaved  bool // what was sent with this request is lost
	Returned bool // the visitor comes from signing in, in vain

	RequestID, Address *text
	Time               *text // for people
	ISOTime            *text // for the datetime attribute
	Links              []footLink

	locale *locale
}

// way is one way on.
type way struct {
	URL         *text
	Label, Hint string
}

type footLink struct {
	URL   *text
	Label string
}

// T is a sentence of the catalogue. Templates call it as {{.T "sign_in"}}.
func (v *view) T(key string) (string, error) { return v.locale.text(key) }

func newView(b *brand, l *locale, r *Refusal, s shape, values values) *view {
	w := l.words(r.words(), r.Status)
	v := &view{
		Lang: l.tag, Dir: l.dir, Status: r.Status, Code: r.words(), Icon: iconOf(r),
		Title: w.title, Heading: w.heading, Name: b.name, Logo: b.logo, Light: b.light, Dark: b.dark,
		Unsaved: s.unsaved, Returned: s.returned, locale: l,
	}
	fill := func(u urlTemplate) *text {
		if u.empty() {
			return nil
		}
		return &text{s: u.fillWith(l.tag, values)}
	}
	v.Login = fill(b.login[loginVariant(s.maxAge, s.acr)])
	v.Logout, v.Home, v.Support, v.RequestAccess = fill(b.logout), fill(b.home), fill(b.support), fill(b.access)
	for _, link := range b.links {
		v.Links = append(v.Links, footLink{fill(link.url), link.label})
	}
	if s.link {
		v.Retry = &text{s: "/" + values.get(slotRetry)}
	}
	if s.requestID {
		v.RequestID = &text{s: values.get(slotRequestID)}
	}
	if s.address {
		v.Address = &text{s: values.get(slotAddress)}
	}
	if s.time {
		v.Time, v.ISOTime = &text{s: values.get(slotTime)}, &text{s: values.get(slotISOTime)}
	}
	v.tell(w, r, s, values)
	return v
}

// tell puts in the sentences and the ways on.
func (v *view) tell(w words, r *Refusal, s shape, values values) {
	switch s.detail {
	case named:
		v.Detail = w.named.tell(values)
	case ownWords:
		v.Detail = &text{s: values.get(slotMessage)}
	default:
		v.Detail = &text{s: w.detail}
	}
	if key := s.retry.key(); key != "" {
		v.RetryText = v.locale.texts[key].tell(values)
	}
	reason := reasonOf(r)
	for _, key := range reason.ways() {
		if url := v.url(key); url != nil {
			label, hint := v.label(key, r)
			v.Ways = append(v.Ways, way{url, label, hint})
		}
	}
	say := func(key string) *text { return &text{s: v.locale.plain(key)} }
	switch {
	case reason == fromHere:
		v.Next = say("address_next")
	case reason == signIn && v.Login == nil, reason == confirm && v.Login == nil:
		v.Next = say("sign_in_elsewhere")
	}
	switch {
	case v.Support != nil, reason == signIn, reason == confirm:
	case reason == account && v.RequestAccess != nil:
	case reason == account, reason == fromHere:
		v.Ask = say("ask_access")
	default:
		v.Ask = say("ask_help")
	}
}

func (v *view) url(key string) *text {
	switch key {
	case "sign_in":
		return v.Login
	case "request_access":
		return v.RequestAccess
	case "other_account":
		return v.Logout
	case "support":
		return v.Support
	case "home":
		return v.Home
	default:
		return v.Retry
	}
}

func (v *view) label(key string, r *Refusal) (label, hint string) {
	if key != "sign_in" {
		return v.locale.plain(key), v.locale.plain(key + "_hint")
	}
	switch r.words() {
	case "token_expired":
		key = "sign_in_again"
	case "step_up_required":
		key = "confirm"
	}
	return v.locale.plain(key), ""
}

// reason groups codes by what helps.
type reason uint8

const (
	passing  reason = iota // it will be over soon
	signIn                 // nobody is recognised
	confirm                // recognised, but too long ago
	account                // not with this account
	fromHere               // not from this network
	closed                 // not at all
	unclear                // not like this
)

func reasonOf(r *Refusal) reason {
	switch r.words() {
	case "step_up_required":
		return confirm
	case "address_denied":
		return fromHere
	case "path_denied", "origin_denied":
		return closed
	case "locked_out", "throttled":
		return passing
	case "credentials_ambiguous":
		return signIn
	}
	switch {
	case r.Status == 401:
		return signIn
	case r.Status == 403:
		return account
	case r.Status == 404, r.Status == 405, r.Status == 410:
		return closed
	case r.Status == 425, r.Status == 429, r.Status >= 500:
		return passing
	default:
		return unclear
	}
}

// ways are the ways on by the names of their labels, the best one first.
func (r reason) ways() []string {
	switch r {
	case signIn:
		return []string{"sign_in", "support", "home"}
	case confirm:
		return []string{"sign_in", "other_account", "support", "home"}
	case account:
		return []string{"request_access", "other_account", "support", "home"}
	case closed, unclear:
		return []string{"home", "support"}
	default:
		return []string{"retry", "support", "home"}
	}
}

func iconOf(r *Refusal) string {
	switch reasonOf(r) {
	case signIn:
		if r.words() == "token_expired" || r.words() == "token_not_yet_valid" {
			return "clock"
		}
		return "person"
	case confirm:
		return "shield"
	case account:
		return "lock"
	case fromHere:
		return "globe"
	case passing:
		if r.Status == 500 {
			return "note"
		}
		return "clock"
	default:
		return "note"
	}
}
