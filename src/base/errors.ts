/** What went wrong, in one plain sentence that says what to do. `code` is stable, for programs. */
export class CodomainError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** The database did not answer or refused; what was asked may be asked again (concurrency.md 9). */
export class DirectoryUnavailable extends CodomainError {
  constructor(message: string, options?: ErrorOptions) {
    super("directory-unavailable", message, options);
  }
}

/** A message did not leave, or no way to the peer could be opened. */
export class TransportError extends CodomainError {
  constructor(message: string, options?: ErrorOptions) {
    super("transport", message, options);
  }
}

/** The configuration or the command line is wrong: exit code 2. */
export class UsageError extends CodomainError {
  constructor(message: string, options?: ErrorOptions) {
    super("usage", message, options);
  }
}
