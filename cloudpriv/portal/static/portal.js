// The only thing that needs a script: what is under way shows how far it is without being asked again.
// A <progress data-progress="address" data-told="id"> asks there for {progress, ended}, and the page is shown anew at the end.
(() => {
  const EVERY = 2000;
  const percent = new Intl.NumberFormat(document.documentElement.lang, { style: "percent" });
  const look = async (bar) => {
    const answer = await fetch(bar.dataset.progress, { headers: { Accept: "application/json" }, redirect: "manual" });
    if (!answer.ok) return; // signed out, or gone: "Refresh" tells more
    const told = await answer.json();
    if (told.ended) return location.reload();
    bar.value = told.progress;
    document.getElementById(bar.dataset.told).textContent = percent.format(told.progress / 100);
    wait(bar);
  };
  const wait = (bar) => setTimeout(() => look(bar).catch(() => wait(bar)), EVERY);
  document.querySelectorAll("progress[data-progress]").forEach(wait);
})();
