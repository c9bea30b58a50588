// What is wrong with how a page is laid out, as sentences. Runs in a world of
// its own: the page's policy forbids scripts, and none of its scripts exist.
(() => {
	const found = [], root = document.documentElement, width = root.clientWidth, rtl = root.dir == "rtl";
	const name = e => `${e.tagName.toLowerCase()} "${(e.innerText ?? "").trim().slice(0, 40)}"`;
	if (root.scrollWidth > width) found.push(`the page scrolls sideways: ${root.scrollWidth} px in ${width} px`);

	const main = document.querySelector("main"), lines = [];
	if (main && document.querySelector(".facts")) {
		const box = main.getBoundingClientRect(), off = (box.left + box.right - width) / 2;
		if (Math.abs(off) > 1) found.push(`the card is ${off} px beside the middle`);
	}
	for (const e of document.body.querySelectorAll("*")) {
		const words = [...e.childNodes].filter(n => n.nodeType == Node.TEXT_NODE && n.data.trim());
		if (!words.length) continue;
		if (!e.checkVisibility({opacityProperty: true, visibilityProperty: true})) found.push(`hidden: ${name(e)}`);
		for (let p = e; p; p = p.parentElement) {
			if (getComputedStyle(p).overflow != "visible" && (p.scrollWidth > p.clientWidth + 1 || p.scrollHeight > p.clientHeight + 1)) {
				found.push(`cut off: ${name(e)}`);
			}
		}
		const edge = main?.contains(e) ? main.getBoundingClientRect() : {left: 0, right: width, top: 0, bottom: Infinity};
		for (const n of words) {
			const range = document.createRange();
			range.selectNodeContents(n);
			for (const r of range.getClientRects()) {
				if (r.width == 0) continue;
				if (r.left < edge.left - 1 || r.right > edge.right + 1 || r.bottom > edge.bottom + 1) found.push(`out of its box: ${name(e)}`);
				// Fonts reserve more height than letters take.
				lines.push({e, left: r.left + 1, right: r.right - 1, top: r.top + r.height / 4, bottom: r.bottom - r.height / 4});
			}
		}
	}
	for (const [i, a] of lines.entries()) {
		for (const b of lines.slice(i + 1)) {
			if (a.e == b.e || a.e.contains(b.e) || b.e.contains(a.e)) continue;
			if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) found.push(`${name(a.e)} lies on ${name(b.e)}`);
		}
	}

	// Order of focus is order of the document; here it is also order of sight.
	let last;
	for (const e of document.querySelectorAll("a,button,input,select,textarea,summary,[tabindex]")) {
		const box = e.getBoundingClientRect();
		if (box.width < 24 || box.height < 24) found.push(`too small to hit: ${name(e)}, ${box.width} by ${box.height} px`);
		if (e.matches(".button,.first") && box.height < 44) found.push(`the main button is ${box.height} px high: ${name(e)}`);
		if (e.tabIndex != 0 || e.hasAttribute("tabindex")) found.push(`has an order of its own: ${name(e)}`);
		if (last) {
			const below = box.top >= last.bottom - 1, beside = rtl ? box.right <= last.left + 1 : box.left >= last.right - 1;
			if (!below && !(beside && box.bottom > last.top)) found.push(`comes after what it is seen before: ${name(e)}`);
		}
		last = box;
	}
	if (!document.querySelector(".button,.first") && document.links.length && !document.querySelector("footer a")) found.push("no main button");
	return found;
})()
