// SPDX-License-Identifier: MIT
// The live table again each second, while it is looked at and nobody reads in it. What
// comes is our own page's HTML, escaped by the server.
"use strict";
(() => {
	const live = document.getElementById("live"), hold = document.getElementById("hold");
	let held = false;

	if (!live || !hold)
		return;
	hold.hidden = false;
	hold.addEventListener("click", () => {
		held = !held;
		hold.textContent = held ? "Go on" : "Hold";
	});
	const again = async () => {
		const selected = String(document.getSelection()) !== "";

		if (!held && !document.hidden && !selected && !live.contains(document.activeElement)) {
			try {
				const reply = await fetch(live.dataset.from, { cache: "no-store" });

				if (!reply.ok)
					throw new Error(reply.status);
				const page = new DOMParser().parseFromString(await reply.text(), "text/html");
				live.replaceChildren(...page.body.childNodes);
			} catch {
				const note = document.createElement("p");

				note.className = "warn";
				note.textContent = "The daemon does not answer: what stands here is old.";
				if (!live.querySelector(".warn"))
					live.prepend(note);
			}
		}
		setTimeout(again, 1000);
	};
	setTimeout(again, 1000);
})();
