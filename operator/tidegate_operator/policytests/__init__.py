"""Tests that policies are written with: `*.test.yaml`, run by the very engine that decides in data planes."""
