"""What routes get from the application."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from application.context import Services


def services(request: Request) -> Services:
    """Return the services of this app."""
    return request.app.state.services


ServicesDep = Annotated[Services, Depends(services)]
