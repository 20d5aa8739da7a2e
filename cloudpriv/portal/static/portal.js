// The only thing that needs a script: what is under way shows how far it is without being asked again.
// An element with an id and data-refresh="seconds" is replaced by what stands at its place on the same page a while later.
(() => {
  const look = async (element) => {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById(element.id);
    if (!fresh) return;
    element.replaceWith(fresh);
    wait(fresh);
  };
  const wait = (element) => {
    const seconds = Number(element.dataset.refresh);
    if (element.id && seconds > 0) setTimeout(() => look(element).catch(() => wait(element)), seconds * 1000);
  };
  document.querySelectorAll("[data-refresh]").forEach(wait);
})();
