/**
 * The document of a user who is nowhere: one tuple, closed (RFC 3863 4.1). With it a watcher who has seen him open takes
 * him for gone, where no document at all would leave him online for ever.
 */
export function closedDocument(aor: string): string {
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\r\n' +
    `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="${attribute(`sip:${aor}`)}">` +
    '<tuple id="gone"><status><basic>closed</basic></status></tuple></presence>\r\n'
  );
}

export const PIDF = "application/pidf+xml";

function attribute(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/"/g, "&quot;");
}
