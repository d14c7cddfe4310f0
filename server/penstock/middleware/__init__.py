"""Applications around applications, under the names that uvicorn's users import."""
