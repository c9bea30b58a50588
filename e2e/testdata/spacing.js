// WCAG 2.2, 1.4.12: visitors may set text as wide as this. Set on each element,
// for the page's policy forbids style sheets other than its own.
(() => {
	for (const e of document.body.querySelectorAll("*")) {
		const set = (name, value) => e.style?.setProperty(name, value, "important");
		set("line-height", "1.5");
		set("letter-spacing", "0.12em");
		set("word-spacing", "0.16em");
		if (e.tagName == "P") set("margin-bottom", "2em");
	}
	return document.body.querySelectorAll("[style]").length;
})()
