package page

// LoginURL is where a refused visitor signs in, "" where the brand of the host
// has no such place.
func (p *Pages) LoginURL(lang, host string, r Refusal) string {
	login := p.brands.find(host).login[loginVariant(r.MaxAge != "", r.ACRValues != "")]
	if login.empty() {
		return ""
	}
	l := p.locale(lang)
	return login.fillWith(l.tag, actual{&r, l})
}
