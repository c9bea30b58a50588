package page

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// What templates/base.html paints under text and buttons. The contrast of brand
// colours is derived against these.
const (
	lightPage, lightCard = "#f3f4f6", "#ffffff"
	darkPage, darkCard   = "#0e1116", "#171b22"
	defaultColor         = "#2456c8"
)

// The least contrast of WCAG 2.2: 1.4.3 for text, 1.4.11 for the shape of a
// control.
const (
	textContrast  = 4.5
	shapeContrast = 3.0
)

// ParseColor reads rrggbb, #rrggbb, rgb or #rgb and returns "#rrggbb" in lower
// case.
func ParseColor(s string) (string, error) {
	h := strings.ToLower(strings.TrimPrefix(s, "#"))
	if len(h) == 3 {
		h = string([]byte{h[0], h[0], h[1], h[1], h[2], h[2]})
	}
	if _, err := strconv.ParseUint(h, 16, 32); err != nil || len(h) != 6 {
		return "", fmt.Errorf("color %q: expected rrggbb, such as 0b57d0 or \"#0b57d0\"", s)
	}
	return "#" + h, nil
}

// shades are what becomes of a brand colour on one kind of page. Exported
// fields, since templates read them.
type shades struct {
	Fill string // the button
	Text string // on the button
	Edge string // the button's outline
	Link string // brand-coloured text on card and page
	Soft string // a tint of the card, behind icons
}

// palette derives readable shades. On light pages the fill stays the operator's
// own colour: a yellow that is darkened until it stands out from white is no
// longer that brand, and an outline does the same for the eye. On dark pages
// the fill is lightened, for a dark button would look switched off.
func palette(color string) (light, dark shades) {
	c := parseRGB(color)
	card := parseRGB(lightCard)
	light = shadesOf(c, c.away(false, shapeContrast, card), c.away(false, textContrast, card, parseRGB(lightPage)), card)
	card = parseRGB(darkCard)
	fill := c.away(true, shapeContrast, card)
	dark = shadesOf(fill, fill, c.away(true, textContrast, card, parseRGB(darkPage)), card)
	return light, dark
}

func shadesOf(fill, edge, link, card rgb) shades {
	s := shades{Fill: fill.String(), Edge: edge.String(), Link: link.String(), Soft: card.mix(link, 0.12).String()}
	switch { // black or white always reaches 4.5; ink is kinder to the eye than black
	case contrast(fill, white()) >= textContrast:
		s.Text = white().String()
	case contrast(fill, ink()) >= textContrast:
		s.Text = ink().String()
	default:
		s.Text = black().String()
	}
	return s
}

type rgb [3]float64 // 0 to 255

func white() rgb { return rgb{255, 255, 255} }
func black() rgb { return rgb{} }
func ink() rgb   { return rgb{0x11, 0x15, 0x1c} }

func parseRGB(s string) rgb {
	n, _ := strconv.ParseUint(strings.TrimPrefix(s, "#"), 16, 32)
	return rgb{float64(n >> 16 & 255), float64(n >> 8 & 255), float64(n & 255)}
}

func (c rgb) String() string {
	return fmt.Sprintf("#%02x%02x%02x", int(math.Round(c[0])), int(math.Round(c[1])), int(math.Round(c[2])))
}

// away makes the colour lighter or darker, in small steps and keeping its hue,
// until it stands out from every background.
func (c rgb) away(lighter bool, least float64, backgrounds ...rgb) rgb {
	h, sat, l := c.hsl()
	step, m := -0.005, c
	if lighter {
		step = 0.005
	}
	for l >= 0 && l <= 1 {
		if !slices.ContainsFunc(backgrounds, func(b rgb) bool { return contrast(m, b) < least }) {
			return m
		}
		l += step
		m = fromHSL(h, sat, l)
	}
	if lighter {
		return white()
	}
	return black()
}

// hsl gives the hue in sixths of the circle, saturation and lightness 0 to 1.
func (c rgb) hsl() (h, s, l float64) {
	r, g, b := c[0]/255, c[1]/255, c[2]/255
	hi, lo := max(r, g, b), min(r, g, b)
	l = (hi + lo) / 2
	d := hi - lo
	if d == 0 {
		return 0, 0, l
	}
	s = d / (1 - math.Abs(2*l-1))
	switch hi {
	case r:
		h = math.Mod((g-b)/d+6, 6)
	case g:
		h = (b-r)/d + 2
	default:
		h = (r-g)/d + 4
	}
	return h, s, l
}

// fromHSL rounds to whole steps, so that what is measured is what is painted.
func fromHSL(h, s, l float64) rgb {
	l = min(max(l, 0), 1)
	chroma := (1 - math.Abs(2*l-1)) * min(s, 1)
	x := chroma * (1 - math.Abs(math.Mod(h, 2)-1))
	var c rgb
	switch int(h) % 6 {
	case 0:
		c = rgb{chroma, x, 0}
	case 1:
		c = rgb{x, chroma, 0}
	case 2:
		c = rgb{0, chroma, x}
	case 3:
		c = rgb{0, x, chroma}
	case 4:
		c = rgb{x, 0, chroma}
	default:
		c = rgb{chroma, 0, x}
	}
	for i := range c {
		c[i] = math.Round((c[i] + l - chroma/2) * 255)
	}
	return c
}

func (c rgb) mix(o rgb, share float64) rgb {
	for i := range c {
		c[i] = math.Round(c[i]*(1-share) + o[i]*share)
	}
	return c
}

// luminance is the relative luminance of WCAG 2.2.
func (c rgb) luminance() float64 {
	var l [3]float64
	for i, v := range c {
		if v /= 255; v <= 0.04045 {
			l[i] = v / 12.92
		} else {
			l[i] = math.Pow((v+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*l[0] + 0.7152*l[1] + 0.0722*l[2]
}

func contrast(a, b rgb) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}
