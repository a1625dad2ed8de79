"""Personal data of those whom tenants write to: where it lies, how it is shown, erased, and how long it is kept."""
