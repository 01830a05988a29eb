// The page that shows a project's maps. All it loads comes from the server that it came from.
"use strict";

const element = (id) => document.getElementById(id);
let map, project, marker;

/** The address of an area's tiles of a layer. */
function tiles(area, layer) {
  const path = [area.name, layer].map(encodeURIComponent).join("/");
  return `${location.origin}/tiles/${path}/{z}/{x}/{y}.png?v=${area.version}`;
}

const lines = (coordinates) => ({ type: "MultiLineString", coordinates });

/** Meridians and parallels at a spacing that suits the view. */
function graticule() {
  const bounds = map.getBounds();
  const span = Math.max(bounds.getEast() - bounds.getWest(), bounds.getNorth() - bounds.getSouth());
  const step = [30, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005]
    .find((each) => span / each >= 4) || 0.0002;
  const west = Math.floor(bounds.getWest() / step), east = Math.ceil(bounds.getEast() / step);
  const south = Math.max(Math.floor(bounds.getSouth() / step), Math.ceil(-85 / step));
  const north = Math.min(Math.ceil(bounds.getNorth() / step), Math.floor(85 / step));
  const found = [];
  for (let i = west; i <= east; i++) found.push([[i * step, south * step], [i * step, north * step]]);
  for (let j = south; j <= north; j++) found.push([[west * step, j * step], [east * step, j * step]]);
  return lines(found);
}

function addSources() {
  map.addSource("graticule", { type: "geojson", data: graticule() });
  map.addLayer({ id: "graticule", type: "line", source: "graticule",
    paint: { "line-color": "#c9d0d6", "line-width": 1 } });
  project.areas.forEach((area, number) => {
    map.addSource(`map-${number}`, { type: "raster", tiles: [tiles(area, project.first_layer)],
      tileSize: 256, bounds: area.bounds, minzoom: Math.max(area.minzoom - 3, 0),
      maxzoom: area.maxzoom });
    map.addLayer({ id: `map-${number}`, type: "raster", source: `map-${number}`,
      paint: { "raster-resampling": "nearest", "raster-fade-duration": 0 } });
    map.addSource(`outline-${number}`, { type: "geojson", data: area.outline });
    map.addLayer({ id: `outline-${number}`, type: "line", source: `outline-${number}`,
      paint: { "line-color": "#1c2126", "line-width": 1.5 } });
  });
}

function swatch(colour) {
  const square = document.createElement("span");
  square.className = "swatch";
  square.style.background = colour;
  return square;
}

function words(tag, text, name) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

/** Classes with their colours, or the ramp of probabilities, as the layer needs. */
function showLegend(layer) {
  const classes = layer === project.first_layer;
  element("legend").hidden = !classes;
  element("ramp").hidden = classes;
}

function fillLegend() {
  for (const each of project.classes) {
    const row = document.createElement("li");
    row.append(swatch(each.colour), words("span", each.name));
    element("legend").append(row);
  }
  element("ramp-bar").style.background = `linear-gradient(to right, ${project.ramp.join(", ")})`;
}

function showPixel(area, found) {
  const place = `${found.lat.toFixed(5)}, ${found.lon.toFixed(5)}`;
  const where = words("p", project.areas.length > 1 ? `${area.name} · ${place}` : place, "where");
  if (found.class === null) {
    element("pixel").replaceChildren(words("p", "The map says nothing here.", "class"), where);
    return;
  }
  const head = words("p", "", "class");
  const colour = project.classes.find((each) => each.code === found.code).colour;
  head.append(swatch(colour), words("span", found.class));
  const shares = Object.entries(found.probabilities).sort((a, b) => b[1] - a[1]).slice(0, 6);
  const rows = shares.map(([name, share]) => {
    const row = words("div", "", "share");
    const meter = document.createElement("meter");
    meter.value = share;
    row.append(words("span", name), meter, words("span", share.toFixed(2), "value"));
    return row;
  });
  element("pixel").replaceChildren(head, where, ...rows);
  element("pixel").scrollIntoView({ block: "nearest" });
}

function areaAt(place) {
  return project.areas.find(({ bounds: [west, south, east, north] }) =>
    place.lng >= west && place.lng <= east && place.lat >= south && place.lat <= north);
}

async function clicked(event) {
  const place = event.lngLat.wrap(), area = areaAt(place);
  marker.setLngLat(place).addTo(map);
  if (!area) {
    element("pixel").replaceChildren(words("p", "There is no map here.", "class"));
    return;
  }
  const asked = `/point/${encodeURIComponent(area.name)}?lon=${place.lng}&lat=${place.lat}`;
  try {
    const answer = await fetch(asked);
    if (!answer.ok) throw new Error(`the server said ${answer.status}`);
    showPixel(area, await answer.json());
  } catch (error) {
    element("pixel").replaceChildren(words("p", `No answer: ${error.message}.`, "hint"));
  }
}

function addControls() {
  const area = element("area"), layer = element("layer"), opacity = element("opacity");
  project.areas.forEach((each, number) => area.append(new Option(each.name, number)));
  element("area-field").hidden = project.areas.length < 2;
  for (const [key, title] of Object.entries(project.layers)) layer.append(new Option(title, key));
  area.addEventListener("change", () => show(project.areas[area.value].bounds));
  layer.addEventListener("change", () => {
    project.areas.forEach((each, number) =>
      map.getSource(`map-${number}`).setTiles([tiles(each, layer.value)]));
    showLegend(layer.value);
  });
  opacity.addEventListener("input", () => project.areas.forEach((_, number) =>
    map.setPaintProperty(`map-${number}`, "raster-opacity", opacity.value / 100)));
  element("report").hidden = !project.report;
  fillLegend();
  showLegend(project.first_layer);
  element("controls").hidden = false;
}

const show = (bounds) => map.fitBounds(bounds, { padding: 40, animate: false });

function start() {
  document.title = `${project.project} – Earthloom maps`;
  element("project").textContent = project.project;
  maplibregl.setWorkerUrl("/static/maplibre/maplibre-gl-csp-worker.js");
  map = new maplibregl.Map({
    container: "map",
    style: { version: 8, sources: {}, layers: [
      { id: "ground", type: "background", paint: { "background-color": "#eef1f3" } }] },
    bounds: project.areas[0].bounds, fitBoundsOptions: { padding: 40 },
    maxZoom: 20, dragRotate: false, pitchWithRotate: false, renderWorldCopies: false,
    attributionControl: { compact: false, customAttribution: project.attribution },
  });
  marker = new maplibregl.Marker({ color: "#1c2126", scale: 0.7 });
  map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new maplibregl.ScaleControl(), "bottom-left");
  map.touchZoomRotate.disableRotation();
  map.on("load", () => { addSources(); addControls(); });
  map.on("moveend", () => map.getSource("graticule")?.setData(graticule()));
  map.on("click", clicked);
  map.on("mousemove", ({ lngLat }) => {
    element("cursor").textContent = `${lngLat.lat.toFixed(5)}, ${lngLat.lng.toFixed(5)}`;
  });
}

fetch("/maps.json").then((answer) => answer.json()).then((found) => {
  project = found;
  start();
}).catch((error) => {
  element("message").textContent = `The maps cannot be shown: ${error.message}.`;
});
