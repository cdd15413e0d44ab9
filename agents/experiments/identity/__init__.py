"""What results depend on, in a form that can be compared: settings, files, code, versions."""
