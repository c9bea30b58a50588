// axe-core takes the colour of letters from -webkit-text-fill-color, and only
// without it from color. Chromium computes the former as if no colours were
// forced, though it paints them; our pages set color alone.
if (!window.mended) {
	window.mended = true;
	const real = CSSStyleDeclaration.prototype.getPropertyValue;
	CSSStyleDeclaration.prototype.getPropertyValue = function (name) {
		return real.call(this, name == "-webkit-text-fill-color" ? "color" : name);
	};
}

// Runs axe-core with the rules of WCAG 2.2 A and AA.
axe.run(document, {
	runOnly: {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
	rules: {"target-size": {enabled: true}}, // is off unless asked for
	preload: false, // there is nothing to load
}).then(r => {
	const told = list => list.flatMap(rule => rule.nodes.map(n => `${rule.id}: ${n.target.join(" ")}: ${n.failureSummary ?? ""}`));
	return {Violations: told(r.violations), Unsure: told(r.incomplete), Passed: r.passes.map(rule => rule.id)};
})
